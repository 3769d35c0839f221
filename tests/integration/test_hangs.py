"""A hang counts: whatever ends a task from outside is seen where it can be, in the worker's main process."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Task

from tests.integration import guarded
from tests.support.breakers import QUICK, breaker_in, conf
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory

LONG = {**QUICK, "recovery_timeout": 60}


@pytest.mark.parametrize(
    "task", [guarded.hang, guarded.soft, guarded.die, guarded.unpicklable], ids=lambda task: task.name
)
def test_it_trips_the_breaker(worker_factory: WorkerFactory, redis_server: Any, task: Task[Any, Any]) -> None:
    worker = worker_factory(concurrency=3, conf=conf(redis_server, breakers={"svc": LONG}))
    seen = breaker_in(worker.app, "svc")
    for _ in range(3):
        task.delay()
    eventually(lambda: seen.state == "open", "three of these should trip it", timeout=30)
    task.delay()
    eventually(lambda: seen.parked() == 1, "the next one should be parked", timeout=20)


def test_an_unpicklable_exception_is_judged_by_its_class(worker_factory: WorkerFactory, redis_server: Any) -> None:
    policy = {**LONG, "max_failures": 1, "failures": ["tests.integration.guarded.Unpicklable"]}
    worker = worker_factory(conf=conf(redis_server, breakers={"svc": policy}))
    seen = breaker_in(worker.app, "svc")
    guarded.unpicklable.delay()
    eventually(lambda: seen.state == "open", "it should count as what it was", timeout=20)


def test_a_revoked_and_terminated_task_says_nothing_of_the_service(
    worker_factory: WorkerFactory, redis_server: Any
) -> None:
    worker = worker_factory(concurrency=1, conf=conf(redis_server, breakers={"svc": {**LONG, "max_failures": 1}}))
    seen = breaker_in(worker.app, "svc")
    result = guarded.hang.apply_async(time_limit=100)
    worker.wait_for_log(r"guarded\.hang\[[^]]+\] received")
    eventually(
        lambda: worker.app.control.inspect(timeout=0.5).active().get(worker.hostname), "it should run", timeout=20
    )
    result.revoke(terminate=True, signal="SIGKILL")
    eventually(lambda: result.state == "REVOKED", "it should have been revoked", timeout=20)
    assert seen.state == "closed"


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_ends_during_a_warm_shutdown_still_counts(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, pool: str
) -> None:
    worker = worker_factory(pool=pool, concurrency=3, conf=conf(redis_server, breakers={"svc": LONG}))
    seen = breaker_in(worker.app, "svc")
    for number in range(3):
        guarded.slow_failure.delay(service.folder, number, 2)
    eventually(lambda: len(service.noted("started")) == 3, "all should run", timeout=20)
    assert worker.stop() == 0
    assert seen.state == "open"
