"""A bus that loses, doubles or shuffles announcements costs latency, within the refresh interval, and nothing else."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.chance import LONG, Chance
from tests.chaos.faulty_bus import BUS_VARIABLE, FAULTS
from tests.chaos.held import becomes, pair, record_of
from tests.integration import guarded
from tests.support.breakers import Seen, breaker_in, conf
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Worker, WorkerFactory

pytestmark = pytest.mark.alone

REFRESH = 1.0
LATE = 0.5 if LONG else 1.0
"""Seconds on top that a busy machine may take to read a record and to end the calls under way."""

INTERVAL = 1.5
SAYS_OPEN = "breaker 'svc' is open, says the store"
POLICY = {
    "max_failures": 3,
    "failure_rate": 0,
    "recovery_timeout": INTERVAL,
    "backoff": "constant",
    "jitter": 0,
    "ramp_start": 500,
}


def test_a_faulty_bus_costs_no_more_than_the_refresh_interval(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, chance: Chance, tmp_path: Path
) -> None:
    bus = tmp_path / "bus"
    bus.write_text("loses")
    settings = conf(redis_server, breakers={"svc": POLICY}, breaker_refresh_interval=REFRESH)
    workers = pair(
        worker_factory, settings, concurrency=1, env={BUS_VARIABLE: str(bus)}, app="tests.chaos.faulty_bus:app"
    )
    seen = breaker_in(workers[0].app, "svc")
    faults = [fault for _ in range(chance.rounds(short=1, long=10)) for fault in FAULTS]
    chance.random.shuffle(faults)
    latencies: dict[str, list[float]] = {fault: [] for fault in FAULTS}
    for number, fault in enumerate(faults):
        bus.write_text(fault)
        heard = Path(f"{bus}.heard")
        before = heard.read_text().count(fault) if heard.exists() else 0
        latencies[fault].append(an_outage(service, seen, workers[1], first=1000 * number))
        assert heard.read_text().count(fault) > before, "the bus was there to be faulty"
    print({fault: f"{max(seconds):.2f} s" for fault, seconds in latencies.items()})  # noqa: T201
    for fault in FAULTS:
        assert max(latencies[fault]) < REFRESH + LATE, f"a bus that {fault} messages"


def an_outage(service: Service, seen: Seen, other: Worker, *, first: int) -> float:
    """One worker trips while the other has nothing to do; seconds until the other knew."""
    refused, served, told = len(service.refused()), len(service.served()), other.logs().count(SAYS_OPEN)
    service.go_down()
    results = [send(service, first + number, queue="one") for number in range(3)]
    opened = becomes(seen, "open")
    eventually(lambda: other.logs().count(SAYS_OPEN) > told, "the other should learn of it", timeout=10)
    known = time.time()
    results += [send(service, first + number, queue="two") for number in range(3, 10)]
    eventually(lambda: record_of(seen).trips > opened.trips, "a probe should fail", timeout=20)
    calls = service.refused()[refused:]
    assert [call for call in calls if known < call.at < opened.until] == [], "what is shut stays shut"
    service.come_back()
    eventually(lambda: all(result.ready() for result in results), "all should be through", timeout=30)
    met = {int(call.words[0]) for call in service.refused()[refused:]}
    sent = Counter(range(first, first + len(results)))
    assert Counter(service.served()[served:]) == sent - Counter(met), "each ran once, none was lost"
    closed = becomes(seen, "closed")
    failed = closed.trips - opened.trips
    assert closed.generation - opened.generation == 2 * failed + 2, "probes, and nothing else, have moved it"
    return known - opened.since


def send(service: Service, number: int, *, queue: str) -> Any:
    return guarded.once.apply_async((service.folder, number), queue=queue)
