"""Moving messages between queues without losing any: the portable way, which any transport can go.

Publish, then acknowledge: a crash in between leaves two copies, never none.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kombu import Queue

from celery_breaker.errors import BrokerError
from celery_breaker.plugin.connections import OwnConnection
from celery_breaker.plugin.parking.lot import (
    PREFIX,
    QUARANTINE,
    Held,
    Move,
    Pace,
    Targets,
    Turn,
    parking_queue,
    release_queue,
)
from celery_breaker.plugin.parking.note import HEADER
from celery_breaker.status import ParkedTask, Waiting

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Message

__all__ = ["PortableLot"]

logger = logging.getLogger(__name__)

_KEPT = ("correlation_id", "reply_to", "message_id", "timestamp", "type", "app_id")
"""Properties that go along; the rest belongs to one delivery, or (expiration) would let the broker drop the task."""


class PortableLot(OwnConnection):
    """Implements `Lot` on any transport, one message at a time.

    Attributes:
        kept: properties that go along with a message.
    """

    pace = Pace()
    keeps_priority = True
    kept: tuple[str, ...] = _KEPT

    def __init__(self, app: Celery) -> None:
        super().__init__(app)
        self._declared: set[str] = set()
        self._targets = Targets()

    def close(self) -> None:
        """See `Lot.close`."""
        self._declared.clear()
        super().close()

    def place(self, name: str, origin: str) -> str:
        """See `Lot.place`."""
        return parking_queue(name)

    def _declare(self, queue: str) -> Any:
        bound = Queue(queue, durable=True)(self._channel())
        if queue not in self._declared:
            bound.queue_declare()
            self._declared.add(queue)
        return bound

    def _prepared(self, message: Message, headers: Mapping[str, object]) -> Any:
        """A copy of a message in the transport's own form."""
        properties = {key: message.properties[key] for key in self.kept if message.properties.get(key) is not None}
        kept = {key: value for key, value in headers.items() if key != "compression"}  # kombu has undone it
        return self._channel().prepare_message(
            message.body,
            message.properties.get("priority") or 0,
            message.content_type,
            message.content_encoding,
            kept,
            {**properties, "delivery_mode": 2},
        )

    def _send(self, message: Message, queue: str, headers: Mapping[str, object], *, then: Callable[[], object]) -> None:
        """Put a copy into a queue, and do ``then`` when it is surely there."""
        self._channel().basic_publish(self._prepared(message, headers), exchange="", routing_key=queue)
        then()

    def move(self, moves: Sequence[Move]) -> None:
        """See `Lot.move`."""
        for move in moves:
            if not move.current():
                continue
            if move.queue.startswith(PREFIX):
                self._declare(move.queue)
            self._send(move.message, move.queue, move.headers, then=move.ack)

    def size(self, name: str) -> int:
        """See `Lot.size`."""
        return self._count(parking_queue(name)) or 0

    def look(self, names: Iterable[str]) -> dict[str, Waiting]:
        """See `Lot.look`; since when, is beyond this way."""
        return {name: Waiting(self.size(name)) for name in names}

    def peek(self, name: str, *, offset: int, count: int) -> list[ParkedTask]:
        """See `Lot.peek`; beyond this way."""
        raise BrokerError("this broker shows parked tasks only to who takes them out of their queue")

    def _count(self, queue: str) -> int | None:
        """Messages in a queue, without making it; ``None`` if there is none."""
        connection = self._opened()
        trial: Any = connection.channel()
        with trial:  # asking for a missing queue closes the channel
            try:
                return int(trial.queue_declare(queue, passive=True).message_count)
            except connection.channel_errors:
                return None

    def target_depth(self, name: str) -> int | None:
        """See `Lot.target_depth`."""
        return self._targets.depth(name, self._count)

    def release(self, name: str, count: int, *, ahead: bool = False, held: Held | None = None) -> int:
        """See `Lot.release`; ``ahead`` is beyond this way."""
        if not (size := self.size(name)):
            return 0
        parked = self._declare(parking_queue(name))
        targets: Counter[str] = Counter()
        turn = Turn(count, size, held)
        while turn.left:
            message = parked.get()
            if message is None:
                break
            self._release_one(message, targets, parked.name, turn)
        return self._targets.note(name, targets)

    def _release_one(self, message: Message, targets: Counter[str], parked: str, turn: Turn) -> None:
        turn.moved(waits := turn.waits(message.headers))
        if waits:
            self._send(message, parked, message.headers, then=message.ack)
            return
        try:
            queue = release_queue(message.headers)
            self._check_exists(queue)
        except (ValueError, TypeError, AttributeError, RecursionError) as exc:
            logger.error("a parked message cannot be released and goes to %s: %s", QUARANTINE, exc)
            self._declare(QUARANTINE)
            headers = {**(message.headers or {}), HEADER + "_reason": str(exc)}
            self._send(message, QUARANTINE, headers, then=message.ack)
        else:
            self._send(message, queue, message.headers, then=message.ack)
            targets[queue] += 1

    def _check_exists(self, queue: str) -> None:
        """A publish to a queue that is gone would vanish, confirmed."""
        if queue not in self._declared:
            if self._count(queue) is None:
                raise ValueError(f"its queue {queue!r} does not exist any more")
            self._declared.add(queue)

    def purge(self, name: str) -> int:
        """See `Lot.purge`."""
        return int(self._declare(parking_queue(name)).purge() or 0) if self.size(name) else 0
