"""What lies in a parking queue on Redis: released as it came, or put into quarantine, and never in the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from celery import Celery

from celery_breaker.plugin.note import Note
from celery_breaker.plugin.parking import QUARANTINE, parking_queue
from celery_breaker.plugin.parking_redis import RedisLot


@pytest.fixture
def lot(make_app: Callable[[Mapping[str, Any]], Celery], make_broker: Callable[[str], Any]) -> RedisLot:
    return RedisLot(make_app(make_broker("redis").conf))


def element(**changes: Any) -> bytes:
    """A parked task, as kombu keeps it in Redis."""
    note = Note().again(breaker="svc", queue="celery", now=1.0)
    whole = {
        "body": "W10=",
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": note.on({"id": "1", "task": "tests.add"}),
        "properties": {
            "delivery_tag": "tag",
            "delivery_info": {"exchange": "", "routing_key": "celery"},
            "body_encoding": "base64",
            "priority": 0,
        },
    }
    return json.dumps({**whole, **changes}).encode()


STRANGE = {
    "no message at all": b"\xff\x00",
    "no json": b"{",
    "a list": b"[1]",
    "nested too deep": b"[" * 20_000 + b"]" * 20_000,
    "no headers": json.dumps({"body": ""}).encode(),
    "not parked by us": element(headers={"id": "1"}),
    "a queue that is no name": element(headers={"celery_breaker": {"queue": 7}}),
    "no properties": element(properties=None),
    "no delivery tag": element(properties={"delivery_info": {}}),
    "no body": element(body=None),
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_what_cannot_be_released_goes_to_quarantine_and_lets_the_next_pass(
    lot: RedisLot, redis_server: Any, strange: bytes
) -> None:
    good = element()
    with redis_server.client(0) as client:
        client.lpush(parking_queue("svc"), strange, good)
        assert lot.release("svc", 10) == 1
        assert client.lrange("celery", 0, -1) == [good]
        assert client.llen(parking_queue("svc")) == 0
        quarantined = json.loads(client.lindex(QUARANTINE, 0))
    assert quarantined["headers"]["celery_breaker_reason"]


def test_a_time_that_no_clock_can_show_does_no_harm(lot: RedisLot, redis_server: Any) -> None:
    odd = element(headers={"celery_breaker": {"queue": "celery", "since": 10**400}})
    with redis_server.client(0) as client:
        client.lpush(parking_queue("svc"), odd)
        assert lot.release("svc", 1) == 1
        assert client.lrange("celery", 0, -1) == [odd]


def test_release_keeps_order_priority_and_every_byte(lot: RedisLot, redis_server: Any) -> None:
    first, second = element(headers=Note(queue="celery").on({"id": "1"})), element()
    urgent = json.loads(element())
    urgent["properties"]["priority"] = 6
    with redis_server.client(0) as client:
        for one in (first, second, json.dumps(urgent).encode()):
            client.lpush(parking_queue("svc"), one)
        assert lot.release("svc", 2) == 2
        assert client.lrange("celery", 0, -1) == [second, first]
        assert lot.release("svc", 2) == 1
        assert client.llen("celery\x06\x166") == 1
        assert lot.target_depth("svc") == 3


def test_ahead_of_what_waits(lot: RedisLot, redis_server: Any) -> None:
    with redis_server.client(0) as client:
        client.lpush("celery", b"waiting")
        client.lpush(parking_queue("svc"), element())
        lot.release("svc", 1, ahead=True)
        assert client.lindex("celery", -1) == element()


def test_nobody_knows_the_depth_of_a_queue_before_the_first_release(lot: RedisLot) -> None:
    assert lot.target_depth("svc") is None


@pytest.mark.parametrize("name", ["smtp", "webhook:https://a.example/x?y=1", "schön", "x" * 200, "ü" * 200])
def test_a_parking_queue_has_a_name_that_every_transport_takes(name: str) -> None:
    queue = parking_queue(name)
    assert len(queue.encode()) <= 200
    assert "/" not in queue
    assert queue == parking_queue(name)
