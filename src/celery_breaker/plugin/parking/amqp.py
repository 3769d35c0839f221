"""Moving messages on AMQP: many on their way at once, each acknowledged as soon as the broker confirms its copy.

All that this package knows of py-amqp is in this file.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from celery_breaker.errors import BrokerError
from celery_breaker.plugin.parking.lot import Held, Move, Turn, parked_task, parking_queue
from celery_breaker.plugin.parking.portable import PortableLot
from celery_breaker.status import ParkedTask

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Connection, Message

__all__ = ["AmqpLot", "serves"]

_AT_ONCE = 200
"""Messages on their way at a time: as many may run twice if the broker is killed in just that moment."""

_PATIENCE = 10.0
"""Seconds without a word from the broker after which it is taken to be away."""

_MORE = 1.0
"""Seconds that the broker may take to hand over what its count promised; somebody else may have it."""

_SEEN = 200
"""Messages that a look may take out of their queue for a moment."""

_NOT_CLASSIC = "a look puts each message back, and only a classic queue does not count that against it; {!r} is none"


def serves(connection: Connection) -> bool:
    """Whether this broker is spoken to by py-amqp."""
    return str(connection.transport.driver_name) == "py-amqp"


class _Confirms:
    """What was published on one channel and not confirmed yet, with what is to follow each confirmation."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._sent = 0
        self._open: dict[int, Callable[[], object]] = {}
        self._nacked = False
        channel.events["basic_ack"].add(self._acked)
        channel.events["basic_nack"].add(self._refused)
        channel.confirm_select()

    def publish(self, message: Any, queue: str, *, then: Callable[[], object]) -> None:
        """Publish without waiting. Should the queue be gone, the broker hands the message back, and `wait` raises."""
        self._channel.basic_publish(message, exchange="", routing_key=queue, mandatory=True)
        self._sent += 1
        self._open[self._sent] = then

    def wait(self) -> None:
        """Wait until all is confirmed. Raises the transport's errors, or `TimeoutError`, and leaves the rest."""
        while self._open and not self._nacked:
            self._channel.connection.drain_events(timeout=_PATIENCE)
        if self._nacked:
            raise ConnectionError("the broker refused a message")

    def _acked(self, tag: int, multiple: bool) -> None:
        for confirmed in self._up_to(tag) if multiple else [tag]:
            if (then := self._open.pop(confirmed, None)) is not None:
                then()

    def _refused(self, _tag: int, _multiple: bool) -> None:
        self._nacked = True

    def _up_to(self, tag: int) -> list[int]:
        return [sent for sent in self._open if sent <= tag]


class AmqpLot(PortableLot):
    """Implements `Lot` on RabbitMQ and whatever else py-amqp speaks to, with publisher confirms."""

    def __init__(self, app: Celery) -> None:
        super().__init__(app)
        self._confirms: _Confirms | None = None

    def close(self) -> None:
        """See `Lot.close`."""
        self._confirms = None
        super().close()

    def _connection_options(self) -> dict[str, Any]:
        # kombu's own confirms would wait for each message, and swallow what we listen for
        return {"transport_options": {**(self._app.conf.broker_transport_options or {}), "confirm_publish": False}}

    def _sending(self) -> _Confirms:
        channel = self._channel()
        if self._confirms is None:
            self._confirms = _Confirms(channel)
        return self._confirms

    def _send(self, message: Message, queue: str, headers: Mapping[str, object], *, then: Callable[[], object]) -> None:
        self._sending().publish(self._prepared(message, headers), queue, then=then)

    def move(self, moves: Sequence[Move]) -> None:
        """See `Lot.move`."""
        super().move(moves)
        self._sending().wait()

    def release(self, name: str, count: int, *, ahead: bool = False, held: Held | None = None) -> int:
        """See `Lot.release`; ``ahead`` is beyond this way."""
        targets: Counter[str] = Counter()
        parked, turn = parking_queue(name), Turn(count, self.size(name), held)
        while turn.left and (messages := self._take(parked, min(turn.left, _AT_ONCE))):
            for message in messages:
                self._release_one(message, targets, parked, turn)
            self._sending().wait()
        return self._targets.note(name, targets)

    def peek(self, name: str, *, offset: int, count: int) -> list[ParkedTask]:
        """See `Lot.peek`; of the first 200 only, in a classic queue only.

        They are taken out, not acknowledged, and back in their places when the channel closes, also if this process
        dies. For that moment nobody counts, releases or purges them.
        """
        if offset >= _SEEN:
            raise BrokerError(f"this broker shows only the first {_SEEN} parked tasks of a breaker")
        queue = parking_queue(name)
        if not self._count(queue):
            return []
        if not self._declares_as(queue, "classic") or self._declares_as(queue, "quorum"):
            raise BrokerError(_NOT_CLASSIC.format(queue))
        headers: list[Mapping[str, object]] = []
        with self._another_channel() as channel:
            while len(headers) < min(offset + count, _SEEN):
                if (message := channel.basic_get(queue, no_ack=False)) is None:
                    break
                headers.append(message.properties.get("application_headers") or {})
        return [parked_task(one) for one in headers[offset:]]

    def _declares_as(self, queue: str, kind: str) -> bool:
        """Whether the broker lets a queue that exists be declared as of this kind; refused, the channel is closed.

        Brokers that are told to be lenient accept "classic" for a quorum queue too, so one answer is not enough.
        """
        try:
            with self._another_channel() as trial:
                trial.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-queue-type": kind})
        except self._opened().channel_errors:
            return False
        return True

    def _another_channel(self) -> Any:
        """Of the connection that there is; whatever goes wrong on it stays there."""
        return self._opened().channel()

    def _take(self, queue: str, count: int) -> list[Message]:
        """Up to ``count`` messages in hand, delivered in one go rather than fetched one by one."""
        channel, taken = self._channel(), list[Any]()
        channel.basic_qos(0, count, False)
        tag = channel.basic_consume(queue, callback=lambda raw: taken.append(channel.message_to_python(raw)))
        deadline = time.monotonic() + _MORE
        while len(taken) < count and (left := deadline - time.monotonic()) > 0:
            try:
                channel.connection.drain_events(timeout=left)
            except TimeoutError:
                break
        channel.basic_cancel(tag)
        return taken
