"""Quorum queues of RabbitMQ, whose consumers have a prefetch of their own and whose delays are the broker's."""

from __future__ import annotations

from typing import Any

import pytest
from celery import chord

from tests.integration import failing, guarded
from tests.support.breakers import QUICK, breaker_in, conf, tripped
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Worker, WorkerFactory

QUORUM = {
    "task_default_queue_type": "quorum",
    "task_default_exchange_type": "topic",
    "broker_transport_options": {"confirm_publish": True},
}


def quorum_worker(factory: WorkerFactory, redis: Any, policy: dict[str, Any], **more: Any) -> Worker:
    imports = ["tests.integration.tasks", "tests.integration.guarded", "tests.integration.failing"]
    own = conf(redis, breakers={"svc": {**QUICK, **policy}}, imports=imports, **QUORUM, **more)
    worker = factory(broker="rabbitmq", conf=own)
    worker.app.set_current()
    return worker


def test_an_outage_costs_no_task_and_retries_and_chords_go_on(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    worker = quorum_worker(worker_factory, redis_server, {})
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    results = [guarded.call.delay(service.folder, number) for number in range(20)]
    total = chord([guarded.call.s(service.folder, number) for number in (20, 21)])(guarded.total.s())
    eventually(lambda: seen.parked() >= 20, lambda: f"{seen.parked()} are parked", timeout=30)
    service.come_back()
    assert sorted(result.get(timeout=60) for result in results) == list(range(20))
    assert total.get(timeout=60) == 41
    eventually(lambda: seen.parked() == 0, "nothing should be left parked", timeout=30)


def test_failures_are_set_aside(worker_factory: WorkerFactory, service: Service, redis_server: Any) -> None:
    worker = quorum_worker(worker_factory, redis_server, {"max_failures": 1000, "defer_failures": True})
    seen = breaker_in(worker.app, "svc")
    results = [failing.flaky.delay(service.folder, number, 2) for number in range(10)]
    assert sorted(result.get(timeout=60) for result in results) == list(range(10))
    assert seen.state == "closed"


@pytest.mark.parametrize("on_open", ["retry", "pause"])
def test_other_answers(worker_factory: WorkerFactory, service: Service, redis_server: Any, on_open: str) -> None:
    line = {**QUICK, "on_open": on_open, "tasks": ["guarded.plain"]}
    own = conf(redis_server, breakers={"line": line}, task_routes={"guarded.plain": {"queue": "line"}}, **QUORUM)
    worker = worker_factory(broker="rabbitmq", queues=["line", "celery"], conf=own)
    seen = breaker_in(worker.app, "line")
    tripped(seen, service, task=guarded.plain)
    for number in range(20):
        guarded.plain.delay(service.folder, number)
    assert worker.app.send_task("guarded.total", ([1, 2],)).get(timeout=20) == 3, "other queues go on"
    service.come_back()
    eventually(lambda: set(service.served()) >= set(range(20)), lambda: f"ran: {service.served()}", timeout=60)
    assert len(service.served()) == len(set(service.served()))
