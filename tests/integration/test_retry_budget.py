"""A half-broken service is not finished off by retries: they stay within a share of its calls."""

from __future__ import annotations

from typing import Any

import pytest

from celery_breaker.core.budget import LEAST
from tests.integration import failing
from tests.support.breakers import QUICK, breaker_in, conf
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory

HALF = {**QUICK, "max_failures": 100_000, "retry_budget": 0.1}
TASKS = 300
IMPORTS = ["tests.integration.tasks", "tests.integration.guarded", "tests.integration.failing"]


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_retries_stay_within_their_share_of_the_calls_of_all_workers(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, broker: str
) -> None:
    settings = conf(redis_server, breakers={"svc": HALF}, imports=IMPORTS)
    first = worker_factory(broker=broker, concurrency=2, conf=settings)
    worker_factory(broker=broker, concurrency=2, conf=settings)
    seen = breaker_in(first.app, "svc")
    for number in range(TASKS):
        failing.half.delay(service.folder, number)
    eventually(
        lambda: len({call.words[0] for call in service.calls()}) == TASKS,
        lambda: f"each task should run once, {len(service.calls())} calls so far",
        timeout=60,
    )
    eventually(lambda: seen.parked() > TASKS / 4, lambda: f"retries should be parked: {seen.parked()}", timeout=30)
    calls = service.calls()
    retries = sum(int(call.words[1]) > 0 for call in calls)
    spent = [call.at for call in calls]
    assert max(spent) - min(spent) < 60, "all of it should be within one window"
    assert 0 < retries <= max(LEAST, 0.1 * len(calls)), f"{retries} of {len(calls)} calls are retries"
    assert seen.state == "closed"


def test_retries_that_were_parked_come_back_as_the_budget_allows(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    policy = {**HALF, "failure_window": 2.0, "max_recovery_timeout": 3.0, "recovery_timeout": 1.0}
    worker = worker_factory(concurrency=2, conf=conf(redis_server, breakers={"svc": policy}, imports=IMPORTS))
    worker.app.set_current()
    results = [failing.half.delay(service.folder, number, 0.3) for number in range(25)]
    assert sorted(result.get(timeout=90) for result in results) == list(range(25)), "none is lost, and none fails"
    assert breaker_in(worker.app, "svc").parked() == 0


def test_past_its_deferrals_a_retry_fails_and_says_why(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    policy = {**HALF, "retry_budget": 0, "max_deferrals": 1, "failure_window": 5.0}
    worker = worker_factory(conf=conf(redis_server, breakers={"svc": policy}, imports=IMPORTS))
    worker.app.set_current()
    results = [failing.half.delay(service.folder, number, 1.0) for number in range(8)]
    eventually(
        lambda: all(result.state == "FAILURE" for result in results),
        lambda: f"all should fail: {[result.state for result in results]}",
        timeout=60,
    )
    assert all("the retry budget of breaker 'svc' is spent" in str(result.result) for result in results)
