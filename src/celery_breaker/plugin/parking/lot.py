"""Moving messages between queues without losing any: the portable way, which any transport can go.

Publish, then acknowledge: a crash in between leaves two copies, never none.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from kombu import Queue

from celery_breaker.errors import BrokerError
from celery_breaker.plugin.connections import close_quietly, connected
from celery_breaker.plugin.parking.note import HEADER, Note
from celery_breaker.status import ParkedTask, Waiting

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Connection, Message

__all__ = [
    "QUARANTINE",
    "Held",
    "Lot",
    "Move",
    "Pace",
    "PortableLot",
    "Turn",
    "origin_queue",
    "parked_task",
    "parking_queue",
    "release_queue",
]

logger = logging.getLogger(__name__)

QUARANTINE = "celery_breaker.quarantine"
"""Queue for what was found in a parking queue and cannot be released, with the reason in the header."""

_PREFIX = "celery_breaker.parked."
_LONGEST = 200
"""Bytes of a queue's name; AMQP allows 255."""

HELD_AT_ONCE = 200
"""Messages that a release may put behind the others, because they have to wait."""

_SHOWN = {"id": "id", "task": "task", "args": "argsrepr", "kwargs": "kwargsrepr"}

_KEPT = ("correlation_id", "reply_to", "message_id", "timestamp", "type", "app_id")
"""Properties that go along; the rest belongs to one delivery, or (expiration) would let the broker drop the task."""


def parking_queue(name: str) -> str:
    """The parking queue of a breaker; a name that no queue could have is escaped, or shortened to a digest."""
    queue = _PREFIX + quote(name, safe=" :;,=@+!$&'()*~^|<>?[]{}#")
    if len(queue.encode()) > _LONGEST:
        queue = _PREFIX + hashlib.sha256(name.encode()).hexdigest()
    return queue


@dataclass(frozen=True, slots=True)
class Move:
    """One message in hand, on its way to ``queue`` with these headers.

    ``ack`` acknowledges it to the broker; ``gone`` notes that the broker has forgotten it already. ``current`` tells
    whether it still is in hand: when its connection is lost, the broker gives it out again. One that was
    ``acknowledged`` before is in nobody else's hand, whatever becomes of its connection.
    """

    message: Message
    queue: str
    headers: Mapping[str, object]
    ack: Callable[[], None]
    gone: Callable[[], None]
    current: Callable[[], bool] = lambda: True
    acknowledged: bool = False


Held = Callable[[Note], bool]
"""Whether a parked message of this note has to wait, although its breaker is closed."""


class Turn:
    """One release: how many messages it may still look at, and which of them wait.

    Args:
        count: messages to release.
        size: messages that are parked, so that none is looked at twice.
        held: see `Lot.release`.
    """

    def __init__(self, count: int, size: int, held: Held | None) -> None:
        self._release, self._look, self._spare = count, size, HELD_AT_ONCE
        self._held = held

    @property
    def open(self) -> int:
        """Messages that are still to be released."""
        return self._release

    @property
    def left(self) -> int:
        """Messages that may be looked at before it has to be thought over again."""
        return max(0, min(self._release, self._look)) if self._spare > 0 else 0

    def waits(self, headers: object) -> bool:
        """Whether a message has to wait."""
        return self._held is not None and self._held(Note.of(headers))

    def moved(self, waits: bool) -> None:
        """Note that a message has been moved: behind the others if it ``waits``, else to where it came from."""
        self._look -= 1
        if waits:
            self._spare -= 1
        else:
            self._release -= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often it is worth while to look into parking queues; seconds.

    Attributes:
        settles: for which a queue must have looked empty before it surely is.
        again: before another look into a queue that was found empty.
        search: between two searches for tasks that nobody expects to be parked.
        watch: for which a count is good enough for who merely looks on.
    """

    settles: float = 0.0
    again: float = 0.0
    search: float = 0.0
    watch: float = 0.0


class Lot(Protocol):
    """Moves messages to, from and between queues of one broker. Not thread-safe: one lot per thread.

    Every method may raise the transport's connection and channel errors; nothing is lost then, and `close` followed
    by another try is the cure.
    """

    @property
    def pace(self) -> Pace:
        """How often to look."""
        ...

    def place(self, name: str, origin: str) -> str:
        """The queue in which a breaker's tasks from the queue ``origin`` are parked. Connects to nothing."""
        ...

    def move(self, moves: Sequence[Move]) -> None:
        """Put each message where it is to go, then acknowledge it."""
        ...

    def size(self, name: str) -> int:
        """Parked messages of a breaker."""
        ...

    def look(self, names: Iterable[str]) -> dict[str, Waiting]:
        """What waits in the parking queues of these breakers."""
        ...

    def peek(self, name: str, *, offset: int, count: int) -> list[ParkedTask]:
        """Some parked messages, the oldest first, which stay where they are.

        Raises:
            BrokerError: this transport shows a message only to who takes it.
        """
        ...

    def target_depth(self, name: str) -> int | None:
        """Messages that wait in the queues to which this lot last released this breaker's tasks; ``None`` before."""
        ...

    def release(self, name: str, count: int, *, ahead: bool = False, held: Held | None = None) -> int:
        """Move up to ``count`` messages back to the queues they came from, oldest first; how many were moved.

        ``ahead`` puts them before what waits there, where the transport can. ``held`` says which have to wait: these
        go behind what is parked, some 200 at the most, and each once. What cannot be released goes to `QUARANTINE` and
        does not count.
        """
        ...

    def purge(self, name: str) -> int:
        """Delete all parked messages of a breaker; how many there were."""
        ...

    def close(self) -> None:
        """Give back the connection."""
        ...


def origin_queue(message: Message, queues: Sequence[Queue], tags: Mapping[str, str]) -> str | None:
    """The queue a message was consumed from, or ``None`` when it cannot be parked safely.

    A copy of a fanout exchange stays where it is: put anywhere else, it would run for nobody or for all. Where the
    transport does not say the queue, it is the one consumed queue that the message's exchange and key lead to.

    Args:
        message: as received.
        queues: the queues this worker consumes.
        tags: names of queues by consumer tag.
    """
    info = message.delivery_info or {}
    by_name = {queue.name: queue for queue in queues}
    consumed = by_name.get(tags.get(info.get("consumer_tag") or "", ""))
    if consumed is None:
        candidates = [by_name[name] for name in _routed(message) if name in by_name]
        consumed = candidates[0] if len(candidates) == 1 else None
    if consumed is None or (consumed.exchange is not None and consumed.exchange.type == "fanout"):
        return None
    return str(consumed.name)


def _routed(message: Message) -> Sequence[str]:
    lookup = getattr(message.channel, "_lookup", None)
    info = message.delivery_info or {}
    return [] if lookup is None else lookup(info.get("exchange"), info.get("routing_key"))


def parked_task(headers: object) -> ParkedTask:
    """What the headers of a parked message tell; whatever makes no sense is left empty."""
    known = headers if isinstance(headers, Mapping) else {}
    words = {name: str(known.get(key) or "") for name, key in _SHOWN.items()}
    note = Note.of(headers)
    return ParkedTask(**words, queue=note.queue, since=note.since, deferrals=note.deferrals)


def release_queue(headers: object) -> str:
    """The queue that a parked message came from.

    Raises:
        ValueError: the message was not parked by this package.
    """
    if queue := Note.of(headers).queue:
        return queue
    raise ValueError(f"its header {HEADER!r} names no queue to release it to")


class PortableLot:
    """Implements `Lot` on any transport, one message at a time.

    Attributes:
        kept: properties that go along with a message.
    """

    pace = Pace()
    kept: tuple[str, ...] = _KEPT

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Connection | None = None
        self._declared: set[str] = set()
        self._targets: dict[str, Counter[str]] = {}

    def _channel(self) -> Any:
        if self._connection is None:
            self._connection = connected(self._app)
        return self._connection.default_channel

    def close(self) -> None:
        """See `Lot.close`."""
        connection, self._connection = self._connection, None
        self._declared.clear()
        close_quietly(connection)

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
            if move.queue.startswith(_PREFIX):
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
        self._channel()
        connection = self._connection
        assert connection is not None
        trial: Any = connection.channel()
        with trial:  # asking for a missing queue closes the channel
            try:
                return int(trial.queue_declare(queue, passive=True).message_count)
            except connection.channel_errors:
                return None

    def target_depth(self, name: str) -> int | None:
        """See `Lot.target_depth`."""
        if name not in self._targets:
            return None
        return sum(self._count(queue) or 0 for queue in self._targets[name])

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
        if targets:
            self._targets[name] = targets
        return targets.total()

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
