"""What can happen to a task while it is parked, and what may not be parked."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from kombu import Connection, Exchange, Queue

from celery_breaker import BreakerOpen
from celery_breaker.plugin.parking.lot import QUARANTINE, parking_queue
from tests.integration import guarded
from tests.support.breakers import QUICK, breaker_in, conf, tripped
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory

BROKERS = pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
BY_HAND = {**QUICK, "recovery_timeout": 60, "max_recovery_timeout": 60}


@BROKERS
def test_expires_and_revoke_are_honoured(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, broker: str
) -> None:
    worker = worker_factory(broker=broker, conf=conf(redis_server, breakers={"svc": BY_HAND}))
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    sent = time.monotonic()
    expiring = guarded.once.apply_async((service.folder, 1), expires=2)
    revoked = guarded.once.delay(service.folder, 2)
    kept = guarded.once.delay(service.folder, 3)
    eventually(lambda: seen.parked() == 3, lambda: f"parked: {seen.parked()}", timeout=20)
    revoked.revoke()
    worker.wait_for_log(rf"flagged as revoked: {revoked.id}")
    service.come_back()
    eventually(lambda: time.monotonic() > sent + 2.5, "the expiry should pass")
    seen.breaker.close()
    assert kept.get(timeout=20) == 3
    eventually(lambda: (expiring.state, revoked.state) == ("REVOKED", "REVOKED"), "both should be dropped", timeout=20)
    assert service.served() == [3]


@BROKERS
def test_a_malformed_message_goes_to_quarantine_and_blocks_nothing(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, broker: str
) -> None:
    worker = worker_factory(broker=broker, conf=conf(redis_server, breakers={"svc": BY_HAND}))
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    queue = parking_queue("svc")
    with worker.app.connection_for_write() as connection:
        Queue(queue, durable=True)(connection.default_channel).declare()
        connection.Producer().publish({"what": "is this"}, exchange="", routing_key=queue, serializer="json")
    if broker == "redis":
        with redis_server.client(0) as client:
            client.lpush(queue, b"\xff not even a message")
    parked = guarded.once.delay(service.folder, 1)
    strange = 2 if broker == "redis" else 1
    eventually(lambda: seen.parked() == 1 + strange, lambda: f"parked: {seen.parked()}", timeout=20)
    service.come_back()
    seen.breaker.close()
    assert parked.get(timeout=20) == 1
    with worker.app.connection_for_read() as connection:
        found = _drain(connection, QUARANTINE)
    assert len(found) == strange
    assert all("names no queue" in reason or "decode" in reason or "Expecting" in reason for reason in found), found


def _drain(connection: Connection, queue: str) -> list[str]:
    bound = Queue(queue, durable=True)(connection.default_channel)
    reasons = []
    while (message := bound.get()) is not None:
        reasons.append(message.headers["celery_breaker_reason"])
        message.ack()
    return reasons


@BROKERS
def test_a_broadcast_is_never_parked_nor_duplicated(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, broker: str
) -> None:
    settings = conf(redis_server, breakers={"svc": BY_HAND})
    one = worker_factory(
        broker=broker, conf=settings, queues=["celery", "everyone"], app="tests.integration.broadcast:app"
    )
    two = worker_factory(
        broker=broker, conf=settings, queues=["celery", "everyone"], app="tests.integration.broadcast:app"
    )
    seen = breaker_in(one.app, "svc")
    tripped(seen, service)
    for worker in (one, two):
        worker.wait_for_log(r"breaker 'svc' (is open|opened)")
    everyone = Exchange("everyone", type="fanout")
    results = guarded.once.apply_async((service.folder, 1), exchange=everyone, routing_key="celery", declare=[everyone])
    for worker in (one, two):
        worker.wait_for_log(r"came from no queue that it could be put back to")
    with pytest.raises(BreakerOpen):
        results.get(timeout=20)
    assert seen.parked() == 0
    assert len(service.refused()) == 3


def test_a_topic_message_goes_back_to_the_queue_it_came_from(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    settings = conf(redis_server, breakers={"svc": BY_HAND})
    worker = worker_factory(
        broker="rabbitmq", conf=settings, queues=["celery", "mails"], app="tests.integration.broadcast:app"
    )
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    topic = Exchange("topics", type="topic")
    result = guarded.once.apply_async((service.folder, 1), exchange=topic, routing_key="mail.new")
    eventually(lambda: seen.parked() == 1, "it should be parked", timeout=20)
    service.come_back()
    seen.breaker.close()
    assert result.get(timeout=20) == 1
    assert service.served() == [1]


def test_parked_messages_keep_priority_headers_and_global_prefix(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    settings = conf(redis_server, breakers={"svc": BY_HAND}, broker_transport_options={"global_keyprefix": "shop-"})
    worker = worker_factory(conf=settings)
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    result = guarded.once.apply_async((service.folder, 1), priority=6, headers={"trace": "abc"})
    eventually(lambda: seen.parked() == 1, "it should be parked", timeout=20)
    with redis_server.client(0) as client:
        parked = json.loads(client.lindex("shop-" + parking_queue("svc"), 0))
        assert (client.hlen("shop-unacked"), client.zcard("shop-unacked_index")) == (0, 0)
    assert (parked["headers"]["trace"], parked["properties"]["priority"]) == ("abc", 6)
    assert parked["properties"]["delivery_info"]["routing_key"] == "celery"
    service.come_back()
    seen.breaker.close()
    assert result.get(timeout=20) == 1
