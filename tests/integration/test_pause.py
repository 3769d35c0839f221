"""``on_open="pause"``: workers leave the queue alone while its breaker refuses, and go on when it does not."""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration import guarded
from tests.support.breakers import QUICK, Seen, breaker_in, conf, logged, tripped
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Broker, Worker, WorkerFactory

QUEUE = "line"
LONG = {"recovery_timeout": 600, "max_recovery_timeout": 600}
BROKERS = pytest.mark.parametrize("broker", ["redis", "rabbitmq", "sqs"])
UNDER_WAY = {"sqs": 10}
"""Messages that may come in answer to what was asked before the pause: on SQS, with a kombu before 5.7."""


def settings(redis: Any, policy: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """``guarded.plain`` has the queue to itself, and a breaker that pauses it."""
    line = {**QUICK, "on_open": "pause", "tasks": ["guarded.plain"], **(policy or {})}
    return conf(redis, breakers={"line": line}, **{"task_routes": {"guarded.plain": {"queue": QUEUE}}, **more})


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
    in_hand = seen.parked() + depth(worker) - 40
    stays(lambda: (depth(worker) + seen.parked(), len(service.refused())), (40 + in_hand, 3))
    assert depth(worker) >= 40 - UNDER_WAY.get(broker, 0)
    service.come_back()
    seen.breaker.close()
    worker.wait_for_log(f"queue '{QUEUE}' is consumed again")
    eventually(lambda: set(service.served()) >= set(range(40)), "all should run", timeout=30)
    assert len(service.served()) == 40 + in_hand


@BROKERS
def test_half_open_one_message_is_fetched_for_each_permit_and_no_other_moves(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, broker: str
) -> None:
    own = settings(redis_server, {"recovery_timeout": 1.5, "jitter": 0})
    workers = [worker_factory(broker=broker, queues=[QUEUE], conf=own, wait=False, concurrency=2) for _ in range(2)]
    for worker in workers:
        worker.wait_ready()
    seen = opened(workers[0], service)
    workers[1].wait_for_log(f"queue '{QUEUE}' is paused by breaker 'line'")
    send(service, 30)
    eventually(lambda: len(service.refused()) >= 6, "messages of the queue should be tried", timeout=30)
    tried = [call.at for call in service.refused()][3:]
    assert all(later - sooner > 1.4 for sooner, later in itertools.pairwise(tried)), "one at a time"
    eventually(
        lambda: depth(workers[0]) + len(service.refused()) + seen.parked() >= 33,
        "nobody took a message that did not run",
    )
    service.come_back()
    eventually(
        lambda: len(set(service.served())) + len(service.refused()) >= 33, "the backlog should follow", timeout=40
    )
    assert seen.state == "closed"


def test_two_permits_are_two_messages(worker_factory: WorkerFactory, service: Service, redis_server: Any) -> None:
    policy = {"recovery_timeout": 2.0, "jitter": 0, "half_open_calls": 2, "success_threshold": 2}
    worker = worker_factory(queues=[QUEUE], conf=settings(redis_server, policy), concurrency=4)
    seen = opened(worker, service)
    eventually(lambda: seen.parked() == 0 or depth(worker) > 0 or seen.state == "half_open", "its time should come")
    service.come_back()
    send(service, 30)
    eventually(lambda: set(service.served()) >= set(range(30)), "all should run", timeout=40)


@BROKERS
def test_what_was_in_hand_is_enough_to_recover(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, make_app: Any, broker: str
) -> None:
    own = settings(redis_server, {"recovery_timeout": 4.0}, worker_prefetch_multiplier=10)
    make_app(worker_factory.settings(broker=broker, conf=own))
    service.go_down()
    send(service, 20)
    worker = worker_factory(broker=broker, queues=[QUEUE], conf=own)
    seen = breaker_in(worker.app, "line")
    eventually(lambda: seen.parked() >= 2, "what was in hand should be parked", timeout=20)
    with worker.app.connection_for_write() as connection:
        connection.default_channel.queue_purge(QUEUE)
    kept = seen.parked()
    service.come_back()
    eventually(lambda: seen.state == "closed", "one of them should close it", timeout=30)
    eventually(lambda: len(service.served()) == kept, "all of them should run", timeout=30)
    assert len(set(service.served())) == kept


@BROKERS
def test_without_a_message_it_waits_for_one(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, broker: str
) -> None:
    worker = worker_factory(broker=broker, queues=[QUEUE], conf=settings(redis_server))
    seen = opened(worker, service)
    service.come_back()
    eventually(lambda: seen.state == "half_open", "its time should come", timeout=20)
    stays(lambda: seen.state, "half_open")
    assert "no task can be tried" not in worker.logs()
    guarded.plain.delay(service.folder, 1)
    eventually(lambda: service.served() == [1], "it should be tried", timeout=20)
    eventually(lambda: seen.state == "closed", "that should close it", timeout=20)


def test_over_a_queue_that_only_the_sender_knows_tasks_are_parked(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    worker = worker_factory(queues=[QUEUE, "elsewhere"], conf=settings(redis_server, LONG))
    seen = opened(worker, service)
    before = seen.parked()
    guarded.plain.apply_async((service.folder, 1), queue="elsewhere")
    eventually(lambda: seen.parked() == before + 1, "it should be parked", timeout=20)
    service.come_back()
    seen.breaker.close()
    eventually(lambda: 1 in service.served(), "it should run", timeout=20)


@BROKERS
def test_a_worker_that_starts_meanwhile_takes_nothing(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, broker: str
) -> None:
    own = settings(redis_server, LONG)
    first = worker_factory(broker=broker, queues=[QUEUE], conf=own)
    seen = opened(first, service)
    first.stop()
    in_hand = seen.parked()
    send(service, 20)
    second = worker_factory(broker=broker, queues=[QUEUE], conf=own)
    second.wait_for_log(f"queue '{QUEUE}' is paused by breaker 'line'")
    stays(lambda: (depth(second), seen.parked(), len(service.refused())), (20, in_hand, 3))
    service.come_back()
    seen.breaker.close()
    eventually(lambda: len(service.served()) == 20 + in_hand, "all should run", timeout=30)


@pytest.mark.parametrize("pool", ["solo", "threads", "gevent"])
@BROKERS
def test_it_works_in_every_pool_without_bus_and_remote_control(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, pool: str, broker: str
) -> None:
    own = settings(redis_server, {"recovery_timeout": 4.0}, breaker_bus=False, worker_enable_remote_control=False)
    args = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    worker = worker_factory(broker=broker, queues=[QUEUE], conf=own, pool=pool, concurrency=2, args=args)
    seen = opened(worker, service)
    before = seen.parked()
    send(service, 20)
    eventually(lambda: seen.parked() + depth(worker) >= before + 20, "nothing should run")
    assert depth(worker) >= 20 - UNDER_WAY.get(broker, 0)
    service.come_back()
    eventually(lambda: set(service.served()) >= set(range(20)), "all should run", timeout=40)


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_worker_whose_broker_was_away_still_leaves_the_queue_alone(
    worker_factory: WorkerFactory,
    service: Service,
    redis_server: Any,
    make_redis: Any,
    make_rabbitmq: Any,
    broker: str,
) -> None:
    server = make_redis(appendonly=True) if broker == "redis" else make_rabbitmq()
    url = server.url_for(0) if broker == "redis" else server.add_vhost("shop")
    worker = worker_factory(
        broker=Broker(broker, {"broker_url": url}, server), queues=[QUEUE], conf=settings(redis_server, LONG)
    )
    seen = opened(worker, service)
    in_hand = seen.parked()
    send(service, 20)
    server.stop()
    server.start()
    logged(worker, f"queue '{QUEUE}' is paused by breaker 'line'", 2, timeout=60)
    stays(lambda: (depth(worker), seen.parked(), len(service.refused())), (20, in_hand, 3))
    service.come_back()
    seen.breaker.close()
    eventually(lambda: len(service.served()) == 20 + in_hand, "all should run", timeout=40)


def test_what_an_operator_cancels_stays_cancelled_and_what_is_added_is_paused(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    worker = worker_factory(queues=[QUEUE, "celery"], conf=settings(redis_server, LONG))
    seen = opened(worker, service)
    in_hand = seen.parked()
    control = worker.app.control
    send(service, 10)
    control.add_consumer(QUEUE, reply=True)
    control.add_consumer("more", reply=True)
    logged(worker, f"queue '{QUEUE}' is paused by breaker 'line'", 2)
    assert depth(worker) + seen.parked() == 10 + in_hand
    control.cancel_consumer(QUEUE, reply=True)
    seen.breaker.close()
    service.come_back()
    assert worker.app.send_task("guarded.total", ([1, 2],), queue="more").get(timeout=20) == 3
    worker.wait_for_log(f"queue '{QUEUE}' stays cancelled")
    stays(lambda: depth(worker) + seen.parked(), 10 + in_hand, seconds=1.0)
    control.add_consumer(QUEUE, reply=True)
    eventually(lambda: len(service.served()) == 10 + in_hand, "all should run", timeout=30)


def test_a_worker_does_not_start_if_other_tasks_would_be_held_up(
    worker_factory: WorkerFactory, redis_server: Any
) -> None:
    own = settings(redis_server, task_routes={"guarded.plain": {"queue": QUEUE}, "guarded.once": {"queue": QUEUE}})
    worker = worker_factory(queues=[QUEUE], conf=own, wait=False)
    eventually(lambda: not worker.running, "it should end", timeout=60)
    assert worker.returncode != 0
    said = (
        "celery-breaker: breaker 'line': on_open='pause' would stop queue 'line' for tasks that it does not guard too: "
        "guarded.once (breaker svc); route its own tasks to queues of their own, or use on_open='park'"
    )
    assert said in worker.logs()


def test_with_two_breakers_the_one_that_pauses_stops_the_queue_and_the_other_parks(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    breakers = {
        "line": {**QUICK, **LONG, "on_open": "pause", "tasks": ["guarded.plain"]},
        "desk": {**QUICK, **LONG, "tasks": ["guarded.plain"]},
    }
    own = conf(redis_server, breakers=breakers, task_routes={"guarded.plain": {"queue": QUEUE}})
    worker = worker_factory(queues=[QUEUE], conf=own)
    line, desk = breaker_in(worker.app, "line"), breaker_in(worker.app, "desk")
    desk.breaker.open(reason="maintenance")
    worker.wait_for_log(r"breaker 'desk' is closed, forced_open")
    send(service, 3)
    eventually(lambda: desk.parked() == 3, "the one that parks should", timeout=20)
    line.breaker.open(reason="maintenance")
    worker.wait_for_log(f"queue '{QUEUE}' is paused by breaker 'line'")
    send(service, 5, first=3)
    stays(lambda: (depth(worker), desk.parked(), line.parked()), (5, 3, 0), seconds=1.5)
    desk.breaker.auto()
    eventually(lambda: depth(worker) == 8, "what was parked should wait with the others", timeout=20)
    line.breaker.auto()
    eventually(lambda: set(service.served()) == set(range(8)), "all should run", timeout=30)


def test_two_hundred_thousand_messages_wait_where_they_are(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    count = 200_000
    own = settings(redis_server, LONG, task_ignore_result=True)
    worker = worker_factory(queues=[QUEUE], conf=own, concurrency=2)
    seen = opened(worker, service)
    guarded.plain.apply_async((service.folder, 1), queue="pattern")
    with redis_server.client(0) as client:
        fill(client, client.rpop("pattern").decode(), count)
        later = worker_factory(queues=[QUEUE], conf=own, concurrency=2)
        later.wait_for_log(f"queue '{QUEUE}' is paused by breaker 'line'")
        stays(lambda: (client.llen(QUEUE), client.zcard("unacked_index")), (count, 0), seconds=5)
        assert seen.parked() <= 8, "what the worker had in hand as the breaker opened"
        service.come_back()
        seen.breaker.close()
        eventually(lambda: len(service.served()) > 50, "they should run", timeout=30)
        seen.breaker.open()
        logged(worker, f"queue '{QUEUE}' is paused", 2)
        client.delete(QUEUE)


def fill(client: Any, pattern: str, count: int) -> None:
    """Put so many copies of a message into the queue, each with an id of its own."""
    message = json.loads(pattern)
    message["properties"]["delivery_info"].update(exchange=QUEUE, routing_key=QUEUE)
    text, ids = json.dumps(message), (message["headers"]["id"], message["properties"]["delivery_tag"])
    with client.pipeline(transaction=False) as pipe:
        for number in range(count):
            copy = text
            for which, old in enumerate(ids):
                copy = copy.replace(old, str(uuid.UUID(int=2 * number + which)))
            pipe.lpush(QUEUE, copy)
            if number % 5000 == 0:
                pipe.execute()
        pipe.execute()
