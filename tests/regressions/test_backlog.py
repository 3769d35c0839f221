"""A backlog must not hurt what is fresh: neither set it aside because tasks are parked, nor bury it under them."""

from __future__ import annotations

from typing import Any

import pytest
from amqp.exceptions import ChannelError

from tests.integration import guarded
from tests.support.breakers import breaker_in, conf, tripped
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory

pytestmark = pytest.mark.integration

POLICY = {
    "max_failures": 3,
    "failure_rate": 0,
    "recovery_timeout": 60.0,
    "max_recovery_timeout": 60.0,
    "ramp_start": 20,
}


def test_fresh_tasks_run_at_once_while_a_backlog_is_parked(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    """Known elsewhere: new tasks are deferred because a backlog exists, so the breaker never seems to recover."""
    backlog = 600
    worker = worker_factory(concurrency=2, conf=conf(redis_server, breakers={"svc": {**POLICY, "ramp_start": 5}}))
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    for number in range(backlog):
        guarded.once.apply_async((service.folder, number), ignore_result=True)
    eventually(lambda: seen.parked() >= backlog, lambda: f"parked: {seen.parked()}", timeout=30)
    service.come_back()
    seen.breaker.close()
    worker.wait_for_log(r"breaker 'svc' is closed")
    for number in range(5000, 5003):
        result = guarded.once.delay(service.folder, number)
        assert result.get(timeout=10) == number
        assert seen.parked() > 0, "it ran before what was parked before it"
    eventually(lambda: len(service.served()) == backlog + 3, lambda: f"{len(service.served())} ran", timeout=30)


SLOTS, SECONDS = 2, 0.1
A_LITTLE = 4 * SLOTS / SECONDS
"""Tasks: the release rate doubles until it is twice what workers can take, at most to four times; for a step of a
second, the longest there is.
"""


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_released_tasks_do_not_bury_fresh_ones_while_workers_are_slow(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, broker: str
) -> None:
    """Known elsewhere: what is released is held against what runs, and not against what waits to run."""
    backlog = 200
    worker = worker_factory(broker=broker, concurrency=SLOTS, conf=conf(redis_server, breakers={"svc": POLICY}))
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    for number in range(backlog):
        guarded.work.apply_async((service.folder, number, SECONDS), ignore_result=True)
    eventually(lambda: seen.parked() >= backlog, lambda: f"parked: {seen.parked()}", timeout=30)
    service.come_back()
    depths: list[int] = []
    with worker.app.connection_for_read() as connection:
        channel = connection.default_channel

        def half_drained() -> bool:
            depths.append(depth(channel, "celery"))
            return len(service.served()) > backlog / 2

        seen.breaker.close()
        eventually(half_drained, lambda: f"{len(service.served())} ran", timeout=60)
    print(f"at most {max(depths)} released tasks waited")  # noqa: T201
    assert 0 < max(depths) <= A_LITTLE


def depth(channel: Any, queue: str) -> int:
    """Messages that wait in a queue; Redis has no queue that is empty."""
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except ChannelError:
        return 0
