"""``on_open="pause"``: workers leave the queue alone while its breaker refuses, and go on when it does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration import guarded
from tests.support.breakers import QUICK, Seen, breaker_in, conf, tripped
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Worker, WorkerFactory

QUEUE = "line"
LONG = {"recovery_timeout": 600, "max_recovery_timeout": 600}
BROKERS = pytest.mark.parametrize("broker", ["redis", "rabbitmq"])


def settings(redis: Any, policy: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """``guarded.plain`` has the queue to itself, and a breaker that pauses it."""
    line = {**QUICK, "on_open": "pause", "tasks": ["guarded.plain"], **(policy or {})}
    return conf(redis, breakers={"line": line}, task_routes={"guarded.plain": {"queue": QUEUE}}, **more)


def depth(worker: Worker, queue: str = QUEUE) -> int:
    """Messages that wait in a queue, and are in nobody's hand."""
    with worker.app.connection_for_read() as connection:
        return int(connection.default_channel.queue_declare(queue, passive=True).message_count)


def opened(worker: Worker, service: Service) -> Seen:
    """The breaker, open, and its queue paused."""
    seen = breaker_in(worker.app, "line")
    tripped(seen, service, task=guarded.plain)
    worker.wait_for_log(f"queue '{QUEUE}' is paused by breaker 'line'")
    return seen


def send(service: Service, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        guarded.plain.delay(service.folder, number)


def stays(value: Callable[[], object], expected: object, seconds: float = 2.0) -> None:
    """It is so now and goes on being so."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert value() == expected
        time.sleep(0.1)


@BROKERS
def test_a_paused_queue_is_left_alone_and_goes_on_after_the_close(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, broker: str
) -> None:
    worker = worker_factory(broker=broker, queues=[QUEUE, "celery"], conf=settings(redis_server, LONG))
    seen = opened(worker, service)
    send(service, 40)
    assert worker.app.send_task("guarded.total", ([1, 2],)).get(timeout=20) == 3, "other queues go on"
    in_hand = seen.parked()
    stays(lambda: (depth(worker), seen.parked(), len(service.refused())), (40, in_hand, 3))
    service.come_back()
    seen.breaker.close()
    worker.wait_for_log(f"queue '{QUEUE}' is consumed again")
    eventually(lambda: set(service.served()) >= set(range(40)), "all should run", timeout=30)
    assert len(service.served()) == 40 + in_hand
