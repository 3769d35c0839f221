"""The whole promise at once: a service goes down under a thousand tasks, and two workers ride it out."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from pytest_celery import CeleryTestSetup

from tests.integration import guarded
from tests.support.breakers import breaker_in, values
from tests.support.service import Call, Service
from tests.support.waiting import eventually

TASKS = 1000
WORKERS, CONCURRENCY = 2, 2
OUTAGE = 8.0
MOMENT = 0.5

POLICY = {"max_failures": 5, "failure_rate": 0, "recovery_timeout": 2.0, "max_recovery_timeout": 4.0, "ramp_start": 100}
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
    _check_what_reached_the_dead_service(service.refused())
    spent = Counter(int(call.words[1]) for call in service.calls() if call.up)
    met = Counter(int(call.words[0]) for call in service.refused())
    assert all(int(call.words[1]) <= met[int(call.words[0])] for call in service.calls() if call.up), (
        f"a task's retries are those of its own failed calls, never of a deferral: {spent}"
    )


def _check_what_reached_the_dead_service(refused: list[Call]) -> None:
    """A moment's calls until every gate is shut, then one in each open interval.

    How many get through in that moment is the machine's speed, a figure of ``make bench``.
    """
    start = refused[0].at
    shut = [call for call in refused if call.at - start > MOMENT]
    assert len(refused) - len(shut) < TASKS / 10, f"{len(refused) - len(shut)} calls before the gates were shut"
    assert shut, "the service should have been probed"
    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise([refused[0], *shut])]
    assert all(gap > POLICY["recovery_timeout"] * 0.8 for gap in gaps), f"one call per open interval, got gaps {gaps}"
