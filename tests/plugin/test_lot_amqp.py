"""What lies in a parking queue on RabbitMQ: released in order, acknowledged only once its copy is confirmed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from celery import Celery
from kombu import Queue

from celery_breaker.plugin import parking_amqp
from celery_breaker.plugin.note import Note
from celery_breaker.plugin.parking import QUARANTINE, Move, parking_queue
from celery_breaker.plugin.parking_amqp import AmqpLot

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
