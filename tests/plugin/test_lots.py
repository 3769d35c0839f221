"""What lies in a parking queue on Redis: released as it came, or put into quarantine, and never in the way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from celery import Celery
from kombu import Queue

from celery_breaker.plugin.parking.lot import HELD_AT_ONCE, QUARANTINE, Move, Targets, parking_queue
from celery_breaker.plugin.parking.note import Note
from celery_breaker.plugin.parking.redis import RedisLot
from celery_breaker.status import Waiting


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


def waiting(*numbers: int) -> Callable[[Note], bool]:
    """Has tasks of these numbers, which stand in their notes as deferrals, wait."""
    return lambda note: note.deferrals in numbers


def test_what_has_to_wait_goes_behind_what_is_parked_and_keeps_every_byte(lot: RedisLot, redis_server: Any) -> None:
    with redis_server.client(0) as client:
        for number in range(5):
            client.lpush(parking_queue("svc"), parked(number))
        assert lot.release("svc", 10, held=waiting(0, 3)) == 3
        assert client.lrange("celery", 0, -1)[::-1] == [parked(number) for number in (1, 2, 4)]
        assert client.lrange(parking_queue("svc"), 0, -1)[::-1] == [parked(0), parked(3)]
        assert lot.target_depth("svc") == 3


def test_each_that_waits_is_moved_once_and_no_more_than_asked_are_released(lot: RedisLot, redis_server: Any) -> None:
    with redis_server.client(0) as client:
        for number in range(4):
            client.lpush(parking_queue("svc"), parked(number))
        looked: list[int] = []
        assert lot.release("svc", 9, held=lambda note: looked.append(note.deferrals) or True) == 0  # type: ignore[func-returns-value]
        assert looked == [0, 1, 2, 3]
        assert client.lrange(parking_queue("svc"), 0, -1)[::-1] == [parked(number) for number in range(4)]
        assert lot.release("svc", 1, held=waiting(0)) == 1
        assert client.lrange(parking_queue("svc"), 0, -1)[::-1] == [parked(number) for number in (2, 3, 0)]


def test_a_long_queue_of_tasks_that_wait_is_not_gone_through_at_once(lot: RedisLot, redis_server: Any) -> None:
    with redis_server.client(0) as client:
        client.lpush(parking_queue("svc"), *(parked(7, since=number) for number in range(3 * HELD_AT_ONCE)))
        assert lot.release("svc", 10_000, held=waiting(7)) == 0
        assert client.lindex(parking_queue("svc"), -1) == parked(7, since=HELD_AT_ONCE)


# --- looking ----------------------------------------------------------------------------------------------------------


def parked(number: int, *, since: float = 1000.0) -> bytes:
    note = replace(Note().again(breaker="svc", queue="celery", now=since), deferrals=number)
    words = {"id": f"id-{number}", "task": "tests.add", "argsrepr": f"({number}, '…')", "kwargsrepr": "{'x': 1}"}
    return element(headers=note.on(words))


def test_sizes_and_times_of_many_breakers_come_in_one_round_trip(lot: RedisLot, redis_server: Any) -> None:
    names = [f"b{number}" for number in range(300)]
    with redis_server.client(0) as client:
        for number, name in enumerate(names[:200]):
            client.lpush(parking_queue(name), *(parked(n, since=1000.5 + number + n) for n in range(3)))
        lot.look(names)
        before = client.info("stats")["total_commands_processed"]
        found = lot.look(names)
        spent = client.info("stats")["total_commands_processed"] - before
    assert list(found) == names
    assert found["b7"] == Waiting(3, 1007.5)
    assert found["b250"] == Waiting(0, None)
    assert found["b0"].since == 1000.5, "the oldest is the one that was parked first"
    calls_within_the_script = 300 + 200
    assert spent <= calls_within_the_script + 2, "one script, and this question"


def test_more_breakers_than_one_script_looks_at(
    lot: RedisLot, redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celery_breaker.plugin.parking.redis._LOOKS_AT_ONCE", 2)
    with redis_server.client(0) as client:
        for number in range(5):
            client.lpush(parking_queue(f"b{number}"), *[parked(0)] * (number + 1))
    assert [one.size for one in lot.look(f"b{number}" for number in range(5)).values()] == [1, 2, 3, 4, 5]
    assert lot.look([]) == {}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_a_look_survives_whatever_lies_at_the_tail(lot: RedisLot, redis_server: Any, strange: bytes) -> None:
    with redis_server.client(0) as client:
        client.lpush(parking_queue("svc"), strange, parked(1))
        client.lpush(parking_queue("other"), parked(2))
    found = lot.look(["svc", "other"])
    assert found["svc"].size == 2
    assert found["other"] == Waiting(1, 1000.0)
    first, second = lot.peek("svc", offset=0, count=10)
    assert second.id == "id-1"
    assert first.task in ("", "tests.add")


def test_a_look_survives_times_that_no_clock_can_show(lot: RedisLot, redis_server: Any) -> None:
    with redis_server.client(0) as client:
        for number, since in enumerate((10**400, "soon", None, -5)):
            odd = element(headers={"celery_breaker": {"queue": "celery", "since": since}})
            client.lpush(parking_queue(f"b{number}"), odd)
    found = lot.look([f"b{number}" for number in range(4)])
    assert [one.size for one in found.values()] == [1] * 4
    assert [one.since for one in found.values()][:3] == [None] * 3
    for number in range(4):
        assert len(lot.peek(f"b{number}", offset=0, count=1)) == 1


def test_a_key_of_another_type_counts_as_nothing(lot: RedisLot, redis_server: Any) -> None:
    with redis_server.client(0) as client:
        client.set(parking_queue("svc"), "not a list")
        client.lpush(parking_queue("other"), parked(1))
    assert lot.look(["svc", "other"]) == {"svc": Waiting(0, None), "other": Waiting(1, 1000.0)}


def test_pages_are_read_from_the_oldest(lot: RedisLot, redis_server: Any) -> None:
    with redis_server.client(0) as client:
        for number in range(7):
            client.lpush(parking_queue("svc"), parked(number))
        pages = [[task.id for task in lot.peek("svc", offset=offset, count=3)] for offset in (0, 3, 6, 9)]
        assert pages == [["id-0", "id-1", "id-2"], ["id-3", "id-4", "id-5"], ["id-6"], []]
        assert client.llen(parking_queue("svc")) == 7


def test_a_page_shows_the_senders_words_and_decodes_nothing(lot: RedisLot, redis_server: Any) -> None:
    with redis_server.client(0) as client:
        client.lpush(parking_queue("svc"), parked(2))
    [task] = lot.peek("svc", offset=0, count=1)
    assert (task.task, task.queue, task.since, task.deferrals) == ("tests.add", "celery", 1000.0, 2)
    assert (task.args, task.kwargs) == ("(2, '…')", "{'x': 1}")


def test_looks_know_the_prefix_of_all_keys(
    make_app: Callable[[Mapping[str, Any]], Celery], make_broker: Callable[[str], Any], redis_server: Any
) -> None:
    conf = {**make_broker("redis").conf, "broker_transport_options": {"global_keyprefix": "shop:"}}
    lot = RedisLot(make_app(conf))
    with redis_server.client(0) as client:
        client.lpush("shop:" + parking_queue("svc"), parked(1))
        client.lpush(parking_queue("svc"), parked(2), parked(3))
    assert lot.look(["svc"]) == {"svc": Waiting(1, 1000.0)}
    assert [task.id for task in lot.peek("svc", offset=0, count=9)] == ["id-1"]
    lot.close()


@pytest.mark.parametrize("name", ["smtp", "webhook:https://a.example/x?y=1", "schön", "x" * 200, "ü" * 200])
def test_a_parking_queue_has_a_name_that_every_transport_takes(name: str) -> None:
    queue = parking_queue(name)
    assert len(queue.encode()) <= 200
    assert "/" not in queue
    assert queue == parking_queue(name)


# --- putting ----------------------------------------------------------------------------------------------------------


def test_of_a_message_that_was_acknowledged_a_copy_is_put_whatever_became_of_its_connection(
    lot: RedisLot, make_app: Callable[[Mapping[str, Any]], Celery], make_broker: Callable[[str], Any], redis_server: Any
) -> None:
    app = make_app(make_broker("redis").conf)
    app.send_task("tests.add", (1, 2), queue="work", priority=6)
    acked: list[str] = []
    with app.connection_for_read() as connection:
        message = Queue("work")(connection.default_channel).get()
        message.ack()
    note = Note().again(breaker="svc", queue="work", now=1.0, wait=3.0)
    move = Move(
        message,
        parking_queue("svc"),
        note.on(message.headers),
        ack=lambda: acked.append("ack"),
        gone=lambda: acked.append("gone"),
        acknowledged=True,
    )
    lot.move([move])
    assert acked == ["ack"]
    assert lot.size("svc") == 1
    assert lot.release("svc", 1) == 1
    with app.connection_for_read() as connection:
        again = Queue("work")(connection.default_channel).get(no_ack=True)
    assert (again.payload, again.properties["priority"]) == (message.payload, 6)
    assert Note.of(again.headers).due == 4.0


def test_an_acknowledgement_that_comes_late_is_not_one_of_the_copy(
    lot: RedisLot, make_app: Callable[[Mapping[str, Any]], Celery], make_broker: Callable[[str], Any], redis_server: Any
) -> None:
    """A worker that stops acknowledges up to half a second late: another may have the copy in hand by then."""
    app = make_app(make_broker("redis").conf)
    app.send_task("tests.add", (1, 2), queue="work")
    with app.connection_for_read() as first, app.connection_for_read() as second:
        message = Queue("work")(first.default_channel).get()
        headers = Note().again(breaker="svc", queue="work", now=1.0).on(message.headers)
        lot.move([Move(message, parking_queue("svc"), headers, ack=int, gone=int, acknowledged=True)])
        assert lot.release("svc", 1) == 1
        copy = Queue("work")(second.default_channel).get()
        message.ack()
        with redis_server.client(0) as client:
            assert client.hkeys("unacked") == [copy.delivery_tag.encode()], "the copy is in hand still"


def test_of_many_breakers_the_queues_of_the_last_are_remembered() -> None:
    """Breakers may be many, each named after an argument."""
    targets = Targets()
    for number in range(3000):
        assert targets.note(f"hook:{number}", Counter(celery=2, mail=1)) == 3
    assert targets.note("hook:2999", Counter()) == 0
    assert targets.depth("hook:0", lambda queue: 5) is None
    assert targets.depth("hook:2999", lambda queue: 5 if queue == "mail" else None) == 5
