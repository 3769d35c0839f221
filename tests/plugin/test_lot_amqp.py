"""What lies in a parking queue on RabbitMQ: released in order, acknowledged only once its copy is confirmed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from celery import Celery
from kombu import Queue

from celery_breaker.errors import BrokerError
from celery_breaker.plugin.parking import amqp as parking_amqp
from celery_breaker.plugin.parking.amqp import AmqpLot
from celery_breaker.plugin.parking.lot import QUARANTINE, Move, parking_queue
from celery_breaker.plugin.parking.note import Note
from celery_breaker.status import Waiting
from tests.support.waiting import eventually

PARKED = parking_queue("svc")


@pytest.fixture
def app(make_app: Callable[[Mapping[str, Any]], Celery], make_broker: Callable[[str], Any]) -> Celery:
    return make_app(make_broker("rabbitmq").conf)


@pytest.fixture
def lot(app: Celery) -> Iterator[AmqpLot]:
    lot = AmqpLot(app)
    yield lot
    lot.close()


@pytest.fixture
def channel(app: Celery) -> Iterator[Any]:
    with app.connection_for_write(transport_options={"confirm_publish": True}) as connection:
        yield connection.default_channel


def declare(channel: Any, *names: str) -> None:
    for name in names:
        Queue(name, durable=True)(channel).declare()


def publish(channel: Any, queue: str, body: str, headers: Mapping[str, Any]) -> None:
    message = channel.prepare_message(body, 0, "text/plain", "utf-8", dict(headers), {"delivery_mode": 2})
    channel.basic_publish(message, exchange="", routing_key=queue)


def park(channel: Any, numbers: range, *, queue: str = "target") -> None:
    for number in numbers:
        publish(channel, PARKED, str(number), Note(queue=queue).on({"id": str(number)}))


def bodies(channel: Any, queue: str) -> list[str]:
    found = []
    while (message := Queue(queue)(channel).get(no_ack=True)) is not None:
        found.append(message.body)
    return found


def test_several_batches_are_released_in_the_order_of_parking(
    app: Celery, lot: AmqpLot, channel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking_amqp, "_AT_ONCE", 7)
    declare(channel, PARKED, "target")
    park(channel, range(30))
    assert lot.release("svc", 20) == 20
    assert (lot.size("svc"), lot.target_depth("svc")) == (10, 20)
    assert lot.release("svc", 20) == 10
    assert bodies(channel, "target") == [str(number) for number in range(30)]
    assert lot.size("svc") == 0


def test_what_has_to_wait_goes_behind_what_is_parked(
    lot: AmqpLot, channel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking_amqp, "_AT_ONCE", 3)
    declare(channel, PARKED, "target")
    for number in range(10):
        publish(channel, PARKED, str(number), Note(queue="target", deferrals=number).on({"id": str(number)}))
    assert lot.release("svc", 100, held=lambda note: note.deferrals % 2 == 0) == 5
    assert bodies(channel, "target") == ["1", "3", "5", "7", "9"]
    assert lot.release("svc", 100, held=lambda note: True) == 0
    eventually(lambda: lot.size("svc") == 5, "all of them stay parked")
    assert bodies(channel, PARKED) == ["0", "2", "4", "6", "8"]


def test_what_cannot_be_released_goes_to_quarantine_and_lets_the_next_pass(lot: AmqpLot, channel: Any) -> None:
    declare(channel, PARKED, "target")
    publish(channel, PARKED, "strange", {})
    park(channel, range(1), queue="gone")
    park(channel, range(1, 2))
    assert lot.release("svc", 10) == 1
    assert bodies(channel, "target") == ["1"]
    assert bodies(channel, QUARANTINE) == ["strange", "0"]


def test_a_target_that_vanished_after_it_was_seen_loses_nothing(lot: AmqpLot, channel: Any) -> None:
    declare(channel, PARKED, "target")
    park(channel, range(1))
    assert lot.release("svc", 1) == 1
    channel.queue_delete("target")
    park(channel, range(5))
    with pytest.raises(Exception, match="NO_ROUTE"):
        lot.release("svc", 5)
    lot.close()
    assert lot.size("svc") == 5
    declare(channel, "target")
    assert lot.release("svc", 5) == 5
    assert bodies(channel, "target") == ["0", "1", "2", "3", "4"]


def test_a_message_is_acknowledged_when_its_copy_is_confirmed_and_not_before(lot: AmqpLot, channel: Any) -> None:
    declare(channel, "source", "here")
    for number in range(3):
        publish(channel, "source", str(number), {"id": str(number)})
    held = [Queue("source")(channel).get(no_ack=False) for _ in range(3)]
    acked: list[str] = []

    def move(message: Any, queue: str) -> Move:
        return Move(message, queue, message.headers, ack=lambda: acked.append(message.body), gone=lambda: None)

    with pytest.raises(Exception, match="NO_ROUTE"):
        lot.move([move(held[0], "here"), move(held[1], "nowhere"), move(held[2], "here")])
    lot.close()
    assert acked in ([], ["0"])
    acked.clear()
    lot.move([move(message, PARKED) for message in held])
    assert acked == ["0", "1", "2"]
    assert lot.size("svc") == 3


def test_a_message_that_is_no_longer_in_hand_is_not_parked(lot: AmqpLot, channel: Any) -> None:
    declare(channel, "source")
    publish(channel, "source", "0", {})
    message = Queue("source")(channel).get(no_ack=False)
    lot.move([Move(message, PARKED, {}, ack=pytest.fail, gone=pytest.fail, current=lambda: False)])
    assert lot.size("svc") == 0


# --- looking ----------------------------------------------------------------------------------------------------------


def park_tasks(channel: Any, count: int, *, at: float = 1000.0) -> None:
    for number in range(count):
        note = Note().again(breaker="svc", queue="target", now=at + number)
        headers = note.on({"id": f"id-{number}", "task": "tests.add", "argsrepr": f"({number}, 0)", "kwargsrepr": "{}"})
        publish(channel, PARKED, str(number), headers)


def ids(lot: AmqpLot, *, offset: int, count: int) -> list[str]:
    return [task.id for task in lot.peek("svc", offset=offset, count=count)]


def test_a_look_shows_pages_in_order_and_leaves_every_message_where_it_was(lot: AmqpLot, channel: Any) -> None:
    declare(channel, PARKED, "target")
    park_tasks(channel, 7)
    assert ids(lot, offset=0, count=3) == ["id-0", "id-1", "id-2"]
    assert ids(lot, offset=3, count=3) == ["id-3", "id-4", "id-5"]
    assert ids(lot, offset=6, count=3) == ["id-6"]
    assert ids(lot, offset=7, count=3) == []
    assert lot.size("svc") == 7
    assert bodies(channel, PARKED) == [str(number) for number in range(7)]


def test_a_look_tells_what_the_headers_tell(lot: AmqpLot, channel: Any) -> None:
    declare(channel, PARKED)
    park_tasks(channel, 1)
    [task] = lot.peek("svc", offset=0, count=10)
    assert (task.task, task.queue, task.deferrals, task.args, task.kwargs) == ("tests.add", "target", 1, "(0, 0)", "{}")
    assert task.since == pytest.approx(1000.0)


def test_a_look_at_what_has_no_headers_shows_it_as_unknown(lot: AmqpLot, channel: Any) -> None:
    declare(channel, PARKED)
    channel.basic_publish(channel.prepare_message("x", 0, "text/plain", "utf-8"), exchange="", routing_key=PARKED)
    publish(channel, PARKED, "y", {"celery_breaker": "nonsense"})
    assert ids(lot, offset=0, count=10) == ["", ""]


def test_tasks_that_came_from_a_quorum_queue_are_shown(lot: AmqpLot, channel: Any) -> None:
    declare(channel, PARKED)
    publish(channel, PARKED, "x", {"id": "id-0", "x-delivery-count": 3})  # the source's header, kept by the parked copy
    assert ids(lot, offset=0, count=10) == ["id-0"]


def test_a_look_makes_no_queue(lot: AmqpLot) -> None:
    assert lot.peek("svc", offset=0, count=10) == []
    assert lot._count(PARKED) is None


def test_a_look_takes_no_more_than_so_many_out(lot: AmqpLot, channel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking_amqp, "_SEEN", 5)
    declare(channel, PARKED)
    park_tasks(channel, 8)
    assert ids(lot, offset=3, count=5) == ["id-3", "id-4"]
    with pytest.raises(BrokerError, match="only the first 5 parked tasks"):
        lot.peek("svc", offset=5, count=5)
    assert lot.size("svc") == 8


def test_messages_in_a_looker_that_dies_go_back_to_their_places(app: Celery, lot: AmqpLot, channel: Any) -> None:
    declare(channel, PARKED, "target")
    park_tasks(channel, 5)
    with app.connection_for_read() as looker:
        for _ in range(3):
            assert looker.default_channel.basic_get(PARKED, no_ack=False) is not None
        looker.connection.transport.sock.shutdown(2)  # the end of a killed process, as the broker sees it
        eventually(lambda: lot.size("svc") == 5, "all should be back")
    assert ids(lot, offset=0, count=5) == [f"id-{number}" for number in range(5)]


@pytest.mark.parametrize(
    "arguments",
    [{"x-queue-type": "quorum"}, {"x-queue-type": "quorum", "x-delivery-limit": 2}, {"x-max-priority": 9}],
    ids=["quorum", "quorum with a limit", "of unknown arguments"],
)
def test_a_queue_that_may_count_each_look_is_not_looked_into(
    lot: AmqpLot, channel: Any, arguments: dict[str, Any]
) -> None:
    channel.queue_declare(PARKED, durable=True, auto_delete=False, arguments=arguments)
    park_tasks(channel, 2)
    eventually(lambda: lot.size("svc") == 2, "both should be there")
    for _ in range(4):  # were they taken and put back, a limit of 2 would drop them
        with pytest.raises(BrokerError, match="only a classic queue"):
            lot.peek("svc", offset=0, count=10)
    first = Queue(PARKED)(channel).get(no_ack=True)
    assert not first.headers.get("x-delivery-count")
    assert lot.size("svc") == 1


def test_a_look_interferes_with_no_release_after_it(lot: AmqpLot, channel: Any) -> None:
    declare(channel, PARKED, "target")
    park_tasks(channel, 4)
    assert len(ids(lot, offset=0, count=10)) == 4
    assert lot.release("svc", 10) == 4
    assert len(ids(lot, offset=0, count=10)) == 0
    assert bodies(channel, "target") == ["0", "1", "2", "3"]


def test_since_when_is_not_told_for_that_would_take_messages_out_each_second(lot: AmqpLot, channel: Any) -> None:
    declare(channel, PARKED)
    park_tasks(channel, 2)
    assert lot.look(["svc", "other"]) == {"svc": Waiting(2), "other": Waiting(0)}
