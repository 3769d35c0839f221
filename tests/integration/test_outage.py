"""The whole promise at once: a service goes down under a thousand tasks, and two workers ride it out."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from pytest_celery import CeleryTestSetup

from celery_breaker.core.journal import Entry
from celery_breaker.plugin.app import breakers_of
from tests.integration import guarded
from tests.support.breakers import breaker_in, values
from tests.support.service import Call, Service
from tests.support.waiting import eventually

TASKS = 1000
WORKERS, CONCURRENCY = 2, 2
OUTAGE = 4.0
JITTER = 0.1

POLICY = {
    "max_failures": 5,
    "failure_rate": 0,
    "recovery_timeout": 1.0,
    "max_recovery_timeout": 2.0,
    "jitter": JITTER,
    "ramp_start": 100,
}
CONF = {
    "imports": ["tests.integration.tasks", "tests.integration.guarded"],
    "breakers": {"svc": POLICY},
    "breaker_tend_interval": 1.0,
}


@pytest.mark.fleet(workers=WORKERS, concurrency=CONCURRENCY, backend="redis", conf=CONF)
def test_a_thousand_tasks_ride_out_an_outage(celery_setup: CeleryTestSetup, service: Service) -> None:
    seen = breaker_in(celery_setup.app, "svc")
    before = [guarded.call.delay(service.folder, number) for number in range(50)]
    assert values(before, timeout=30) == list(range(50))

    service.go_down()
    results = [guarded.call.delay(service.folder, number) for number in range(50, TASKS)]
    eventually(lambda: seen.parked() > TASKS / 2, lambda: f"parked: {seen.parked()}", timeout=60)
    down_at = service.refused()[0].at
    eventually(lambda: service.refused()[-1].at - down_at > OUTAGE, "probes should go on", timeout=60)
    service.come_back()

    assert sorted(values(results, timeout=90)) == list(range(50, TASKS))
    assert Counter(service.served()) == Counter(range(TASKS)), "each ran once, none was lost"
    eventually(lambda: seen.parked() == 0, "the parking queue should be empty")
    _check_what_reached_the_dead_service(service.refused(), breakers_of(celery_setup.app).desk.history("svc")[::-1])
    spent = Counter(int(call.words[1]) for call in service.calls() if call.up)
    met = Counter(int(call.words[0]) for call in service.refused())
    assert all(int(call.words[1]) <= met[int(call.words[0])] for call in service.calls() if call.up), (
        f"a task's retries are those of its own failed calls, never of a deferral: {spent}"
    )


def _check_what_reached_the_dead_service(refused: list[Call], history: list[Entry]) -> None:
    """What was under way until every gate was shut, then one call at the end of each open interval.

    How many get through at the trip is the machine's speed, a figure of ``make bench``.
    """
    due = [entry.at for entry in history if entry.what == "half_open"]
    probes = [call for call in refused if call.at >= due[0]]
    assert len(refused) - len(probes) < TASKS / 10, f"{len(refused) - len(probes)} calls before the gates were shut"
    assert 2 <= len(probes) <= len(due), f"one call per open interval, but {len(probes)} in {len(due)}"
    opened = [earlier for earlier, later in itertools.pairwise(history) if later.what == "half_open"]
    assert {entry.what for entry in opened} == {"open"}
    waits = [at - entry.at for entry, at in zip(opened, due, strict=True)]
    assert min(waits) >= POLICY["recovery_timeout"] * (1 - JITTER), f"open for {waits}"
