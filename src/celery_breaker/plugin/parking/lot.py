"""The lot: what a transport has to do for parking, whatever its way; and what all ways have in common."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from celery_breaker.plugin.parking.note import HEADER, Note
from celery_breaker.status import ParkedTask, Waiting

if TYPE_CHECKING:
    from kombu import Message

__all__ = [
    "HELD_AT_ONCE",
    "PREFIX",
    "QUARANTINE",
    "Held",
    "Lot",
    "Move",
    "Pace",
    "Targets",
    "Turn",
    "parked_task",
    "parking_queue",
    "release_queue",
]

QUARANTINE = "celery_breaker.quarantine"
"""Queue for what was found in a parking queue and cannot be released, with the reason in the header."""

PREFIX = "celery_breaker.parked."
"""First part of every parking queue's name."""

_LONGEST = 200
"""Bytes of a queue's name; AMQP allows 255."""

HELD_AT_ONCE = 200
"""Messages that a release may put behind the others, because they have to wait."""

_REMEMBERED = 1000

_SHOWN = {"id": "id", "task": "task", "args": "argsrepr", "kwargs": "kwargsrepr"}


def parking_queue(name: str) -> str:
    """The parking queue of a breaker; a name that no queue could have is escaped, or shortened to a digest."""
    queue = PREFIX + quote(name, safe=" :;,=@+!$&'()*~^|<>?[]{}#")
    if len(queue.encode()) > _LONGEST:
        queue = PREFIX + hashlib.sha256(name.encode()).hexdigest()
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


class Targets:
    """To which queues a lot released each breaker's tasks last; it remembers the last thousand breakers."""

    def __init__(self) -> None:
        self._queues: dict[str, tuple[str, ...]] = {}

    def note(self, name: str, moved: Counter[str]) -> int:
        """Note what one release has moved to each queue; how many messages that were."""
        if moved:
            self._queues.pop(name, None)
            self._queues[name] = tuple(moved)
            if len(self._queues) > _REMEMBERED:
                del self._queues[next(iter(self._queues))]
        return moved.total()

    def depth(self, name: str, count: Callable[[str], int | None]) -> int | None:
        """Messages that wait in a breaker's queues, as ``count`` has each; ``None`` if nothing was released to any."""
        queues = self._queues.get(name)
        return None if queues is None else sum(count(queue) or 0 for queue in queues)


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

    @property
    def keeps_priority(self) -> bool:
        """Whether a parking queue keeps its messages in one order whatever their priority."""
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
