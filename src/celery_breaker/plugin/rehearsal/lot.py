"""Where eager tasks go that their breakers do not admit: a lot in this process, and the worker's deferrer in front."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from celery_breaker.engine.news import isolated
from celery_breaker.errors import BreakerOpen
from celery_breaker.plugin.app import AppBreakers
from celery_breaker.plugin.gate.deferral import Deferrer, Refused
from celery_breaker.plugin.mainloop import MainLoop
from celery_breaker.plugin.parking.lot import Held, Move, Pace, parked_task, parking_queue
from celery_breaker.plugin.parking.note import Note
from celery_breaker.plugin.rehearsal.seat import EagerMessage, Seat
from celery_breaker.status import ParkedTask, Waiting
from celery_breaker.testing import Deferred

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Message

    from celery_breaker.engine.registry import Registry

__all__ = ["EagerDeferrer", "EagerLoop", "EagerLot"]


class EagerLoop(MainLoop):
    """In the place of a worker's main loop: whatever is to happen on it, happens here and now."""

    def __init__(self, breakers: AppBreakers) -> None:
        super().__init__()
        self._breakers = breakers

    def soon(self, call: Callable[[], object]) -> None:
        """See `MainLoop.soon`."""
        isolated(call)

    def run(self, request: Any) -> None:
        """It has all it needs to run; the caller is waiting to do that."""
        request.clear()

    def forget(self, message: Message) -> None:
        """There is no broker."""

    def origin(self, message: Message) -> str | None:
        """The queue that a message would have come from."""
        queue = self._breakers.policies.queue_of(str(message.headers["task"]))
        return queue or str(self._breakers.app.conf.task_default_queue)


class EagerLot:
    """Implements `Lot` in memory, in the order of parking; releasing a task is running it. Thread-safe.

    Args:
        run: runs a call again; what it raised, if that is to be known.
    """

    def __init__(self, run: Callable[[Seat], BaseException | None]) -> None:
        self._run = run
        self._parked: list[tuple[Seat, str]] = []
        self._lock = threading.Lock()

    pace = Pace()
    keeps_priority = True

    def place(self, name: str, origin: str) -> str:
        """See `Lot.place`."""
        return parking_queue(name)

    def move(self, moves: Sequence[Move]) -> None:
        """See `Lot.move`."""
        for move in moves:
            action = "retry" if "eta" in move.headers else "park"
            with self._lock:
                self._parked.append((_seat_of(move.message), action))
            move.ack()

    def _of(self, name: str) -> list[Seat]:
        with self._lock:
            return [seat for seat, _ in self._parked if _breaker(seat) == name]

    def deferred(self) -> list[Deferred]:
        """All that is set aside."""
        with self._lock:
            return [_deferred(seat, action) for seat, action in self._parked]

    def size(self, name: str) -> int:
        """See `Lot.size`."""
        return len(self._of(name))

    def look(self, names: Iterable[str]) -> dict[str, Waiting]:
        """See `Lot.look`."""
        return {name: Waiting(self.size(name)) for name in names}

    def peek(self, name: str, *, offset: int, count: int) -> list[ParkedTask]:
        """See `Lot.peek`."""
        return [parked_task(seat.message.headers) for seat in self._of(name)[offset : offset + count]]

    def target_depth(self, name: str) -> int | None:
        """Nothing waits."""
        return None

    def release(self, name: str, count: int, *, ahead: bool = False, held: Held | None = None) -> int:
        """See `Lot.release`: runs them. Raises at the end what the first one raised that lets its errors out."""
        released = self._of(name)[:count]
        with self._lock:
            self._parked = [(seat, action) for seat, action in self._parked if seat not in released]
        errors = [error for seat in released if (error := self._run(seat)) is not None]
        if errors:
            raise errors[0]
        return len(released)

    def purge(self, name: str) -> int:
        """See `Lot.purge`."""
        gone = self._of(name)
        with self._lock:
            self._parked = [(seat, action) for seat, action in self._parked if seat not in gone]
        return len(gone)

    def clear(self) -> None:
        """Delete everything."""
        with self._lock:
            self._parked.clear()

    def close(self) -> None:
        """There is no connection."""


def _seat_of(message: Message) -> Seat:
    assert isinstance(message, EagerMessage)
    return message.seat


def _breaker(seat: Seat) -> str:
    return Note.of(seat.message.headers).breaker


def _deferred(seat: Seat, action: str) -> Deferred:
    note = Note.of(seat.message.headers)
    return Deferred(
        breaker=note.breaker,
        task=str(seat.task.name),
        id=seat.id,
        args=seat.args,
        kwargs=seat.kwargs,
        action=action,
        deferrals=note.deferrals,
        queue=note.queue,
    )


class EagerDeferrer(Deferrer):
    """Sets eager calls aside on the spot; their results are with whoever called, and not in the backend."""

    def __init__(self, app: Celery, registry: Registry, lot: EagerLot, *, loop: EagerLoop) -> None:
        super().__init__(app, registry, lot, loop=loop)
        self.inline = True

    def _record(self, refused: Refused, move: Move) -> None:
        assert refused.cell is not None
        _seat_of(refused.message).set_aside(move.headers, self._info(refused, refused.cell, move))

    def _fail(self, refused: Refused) -> None:
        error = refused.error
        if error is None:
            assert refused.cell is not None
            error = BreakerOpen(refused.name, self._registry.retry_after(refused.cell))
            self._tell(refused, Note.of(refused.message.headers).deferrals)
        self._settle(refused, refused.ack)
        _seat_of(refused.message).fail(error)
