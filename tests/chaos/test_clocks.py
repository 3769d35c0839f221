"""Workers whose clocks are ten minutes off, one ahead and one behind, with a store whose clock is right."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from celery_breaker.plugin.app import breakers_of
from tests.chaos.clocks import off_by
from tests.chaos.held import QUIET, becomes, record_of
from tests.integration import guarded
from tests.support.breakers import breaker_in, conf
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Worker, WorkerFactory

pytestmark = pytest.mark.alone

TEN_MINUTES = 600.0
INTERVAL = 1.6

POLICY = {
    "max_failures": 3,
    "failure_rate": 0,
    "recovery_timeout": INTERVAL,
    "backoff": "constant",
    "jitter": 0,
    "ramp_start": 200,
}
AT_THE_TRIP = 20
"""Calls, with what is under way; many, for libfaketime delays a worker's threads by up to half a second."""


def off(worker_factory: WorkerFactory, settings: dict[str, Any], seconds: float, *, queue: str) -> Worker:
    """A worker whose clock is off by this, not ready yet."""
    return worker_factory(
        queues=[queue], conf=settings, env=off_by(seconds), app="tests.chaos.wrong_clock:app", args=QUIET, wait=False
    )


def check_that_they_are_off(service: Service) -> None:
    for number, queue in ((998, "one"), (999, "two")):
        guarded.plain.apply_async((service.folder, number), queue=queue)
        eventually(lambda n=number: n in service.served(), "it should run", timeout=20)
    now = time.time()
    assert [round((call.at - now) / TEN_MINUTES) for call in service.calls()] == [1, -1]


def test_clocks_ten_minutes_off_change_nothing(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    policy = {**POLICY, "max_deferral_age": TEN_MINUTES / 2}
    settings = conf(redis_server, breakers={"svc": policy})
    workers = [
        off(worker_factory, settings, TEN_MINUTES, queue="one"),
        off(worker_factory, settings, -TEN_MINUTES, queue="two"),
    ]
    for worker in workers:
        worker.wait_ready()
    seen = breaker_in(workers[0].app, "svc")
    check_that_they_are_off(service)

    service.go_down()
    results = [
        guarded.stamped.apply_async((service.folder, number), queue=("one", "two")[number % 2]) for number in range(40)
    ]
    opened = becomes(seen, "open").since - (time.time() - time.monotonic())
    eventually(lambda: record_of(seen).trips >= 3, "it should be probed time and again", timeout=20)
    service.come_back()
    met = {int(call.words[0]) for call in service.refused()}
    eventually(
        lambda: sum(result.ready() for result in results) == len(results),
        lambda: f"{sum(result.ready() for result in results)} are through",
        timeout=20,
    )
    wrong = {type(result.result).__name__ for result in results if result.failed()} - {"ServiceDown"}
    assert not wrong, "nobody is as old as a clock says that is wrong"
    assert sorted(service.served()) == sorted({*range(40), 998, 999} - met)

    stamps = [float(at) for number, at in service.noted("stamps") if int(number) in met]
    probes = [at for at in stamps if at > opened + INTERVAL * 0.8]
    assert len(stamps) - len(probes) <= AT_THE_TRIP, f"opened at {opened}, called at {stamps}"
    assert len(probes) >= 2
    gaps = [later - earlier for earlier, later in itertools.pairwise(probes)]
    assert all(INTERVAL * 0.8 < gap < INTERVAL + 2 for gap in gaps), f"a probe per open interval, got gaps {gaps}"


def test_a_task_does_not_age_by_crossing_to_a_worker_whose_clock_is_wrong(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    policy = {**POLICY, "recovery_timeout": 60.0, "max_recovery_timeout": 60.0, "max_deferral_age": TEN_MINUTES / 2}
    settings = conf(redis_server, breakers={"svc": policy})
    behind = off(worker_factory, settings, -TEN_MINUTES, queue="celery")
    behind.wait_ready()
    seen = breaker_in(behind.app, "svc")
    seen.breaker.open()
    behind.wait_for_log(r"breaker 'svc' is closed, forced_open")
    result = guarded.once.delay(service.folder, 1)
    eventually(lambda: seen.parked() == 1, "it should be parked", timeout=20)
    behind.stop()
    off(worker_factory, settings, TEN_MINUTES, queue="celery").wait_ready()  # reads the records as it starts
    lot = breakers_of(behind.app).open_lot()
    assert lot.release("svc", 1) == 1
    lot.close()
    eventually(lambda: seen.parked() == 1 or result.ready(), "the other should take it", timeout=20)
    assert seen.parked() == 1, f"it is seconds old, but the worker that is ahead made it {result.result!r}"
