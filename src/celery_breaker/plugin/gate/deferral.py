"""What becomes of a task that its breaker does not admit: parked, sent again later, or failed."""

from __future__ import annotations

import logging
import random
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING

from celery_breaker.core import deferrals
from celery_breaker.engine.background import Background
from celery_breaker.engine.view import Cell
from celery_breaker.errors import BreakerOpen
from celery_breaker.plugin.gate.failing import Failing, context_of
from celery_breaker.plugin.gate.telling import tell_deferred
from celery_breaker.plugin.mainloop import MainLoop
from celery_breaker.plugin.parking.lot import Lot, Move
from celery_breaker.plugin.parking.note import Note

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Message

    from celery_breaker.engine.registry import Registry
    from celery_breaker.plugin.aliases import AnyTask

__all__ = ["DEFERRED", "Deferrer", "Refused"]

logger = logging.getLogger(__name__)

DEFERRED = "DEFERRED"
"""State of a deferred task in the results backend."""

_AT_ONCE = 200
"""Messages set aside in one go."""

_LINGER = 0.002
"""Seconds in which messages gather, so that one round trip sets several aside; about what it takes to read a few."""

_TRIES = 5
"""Attempts to record a failure, a second apart, before the task is let go without."""

_UNRECORDED = 10.0
"""Seconds for which no state is stored once that failed: a backend that is away may take as long for each."""

_FALLBACK_VISIBILITY = 3600.0
"""Seconds: what kombu takes where a transport has a visibility timeout and nobody set one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A message in hand that its breaker does not admit.

    Attributes:
        origin: the queue it came from; ``None`` if it cannot be parked safely.
        action: ``"park"``, ``"retry"`` or ``"fail"``.
        ack: acknowledge it. gone: note that the broker has forgotten it already.
        connection: over which of this worker's connections it came; see `MainLoop.connections`.
        error: what it fails with, if it does and not with `BreakerOpen`.
        acknowledged: the broker has been told that it was taken, so it is put, not moved, and in hand for good.
        wait: seconds for which it stays parked if its breaker stays closed; ``None`` if only the breaker counts.
    """

    task: AnyTask
    message: Message
    origin: str | None
    action: str
    ack: Callable[[], object]
    gone: Callable[[], object]
    connection: int
    cell: Cell | None = None
    error: Exception | None = None
    acknowledged: bool = False
    wait: float | None = None

    @property
    def name(self) -> str:
        """The breaker's name."""
        return self.cell.name if self.cell is not None else ""

    @property
    def ignores_result(self) -> bool:
        """Whether the message, or else the task, says that nobody wants the result."""
        said = (self.message.headers or {}).get("ignore_result")
        return bool(self.task.ignore_result if said is None else said)


class Deferrer:
    """Sets refused tasks aside, in a thread of its own where the worker has an event loop, else on the spot.

    Nothing is acknowledged before it is safe; while the broker is away, what is in hand stays in hand.

    Attributes:
        inline: work in the caller's thread: its loop would not notice that messages are gone.

    Args:
        unexpected: called when a task was parked by a breaker whose record does not say that some are.
    """

    def __init__(
        self,
        app: Celery,
        registry: Registry,
        lot: Lot,
        *,
        loop: MainLoop,
        unexpected: Callable[[], object] = lambda: None,
    ) -> None:
        self._app = app
        self._registry = registry
        self._lot = lot
        self._loop = loop
        self._unexpected = unexpected
        self._lock = threading.Lock()
        self._tries: Counter[int] = Counter()
        self._parked: deque[str] = deque()
        self._records_from = 0.0
        self._waiting: deque[Refused] = deque()
        self._settled: set[int] = set()
        self._failing = False
        self._background = Background(self._work, name="celery-breaker-deferrer", linger=_LINGER)
        self.inline = False

    def submit(self, refused: Refused) -> None:
        """Take over a refused message. Never raises."""
        self._waiting.append(refused)
        if self.inline and not self._failing:  # else the caller would wait for a broker that is away, each time
            self._background.turn()
        if self._waiting:
            self._background.wake()

    def take_parked(self) -> set[str]:
        """Breakers for which this process parked something since the last call."""
        taken: set[str] = set()
        while self._parked:
            taken.add(self._parked.popleft())
        return taken

    def close(self, *, last: bool = True) -> None:
        """Finish what is in hand and stop the thread; once more, the last time, for what tasks that still ran left."""
        self.inline = True
        self._background.stop()
        hangs = self._background.running  # it has the lock, and the connection
        if self._waiting and not hangs:
            self._background.turn()
        if last and (left := sum(refused.acknowledged for refused in self._waiting)):
            logger.error("the broker is away, so %d failed tasks that it had acknowledged cannot be parked: lost", left)
        if not hangs:
            self._lot.close()

    def _current(self, refused: Refused) -> bool:
        """Whether the message still is in this worker's hand, and not given out again by the broker."""
        return refused.acknowledged or refused.connection == self._loop.connections

    def _work(self) -> float:
        with self._lock:
            while self._waiting:
                waiting = [self._waiting.popleft() for _ in range(min(len(self._waiting), _AT_ONCE))]
                batch = [refused for refused in waiting if self._current(refused)]
                try:
                    close_stale_database_connections()
                    self._set_aside(batch)
                except Exception as exc:
                    left = [refused for refused in batch if id(refused) not in self._settled and self._current(refused)]
                    self._waiting.extendleft(reversed(left))
                    self._lot.close()
                    if not self._failing:
                        logger.warning("tasks cannot be set aside and stay unacknowledged, next try in 1 s: %r", exc)
                    self._failing = True
                    return 1.0
                finally:
                    self._settled.clear()
                self._failing = False
        return 60.0

    def _set_aside(self, batch: list[Refused]) -> None:
        moves: list[tuple[Refused, Move]] = []
        for refused in batch:
            if refused.action == "fail":
                self._fail(refused)
            elif refused.origin is None:
                logger.warning(
                    "task %s came from no queue that it could be put back to, so it fails", refused.task.name
                )
                self._fail(refused)
            else:
                moves.append((refused, self._move(refused, refused.origin)))
        for refused, move in moves:
            if refused.action == "park":
                self._parked.append(refused.name)
            self._record(refused, move)
        if moves:
            self._lot.move([move for _, move in moves])
        if any(refused.cell is not None and not refused.cell.record.draining for refused, _ in moves):
            self._unexpected()
        for refused, move in moves:
            self._tell(refused, Note.of(move.headers).deferrals)

    def _settle(self, refused: Refused, how: Callable[[], object]) -> None:
        self._settled.add(id(refused))
        self._tries.pop(id(refused), None)
        how()
        self._loop.wake()

    def _move(self, refused: Refused, origin: str) -> Move:
        headers = refused.message.headers
        before = Note.of(headers)
        now, retries = self._registry.link.now(), headers.get("retries")
        note = before.again(breaker=refused.name, queue=origin, now=now, wait=refused.wait, retries=retries)
        noted = note.on(headers)
        queue = self._lot.place(refused.name, origin)
        if refused.action == "retry":
            queue = origin
            noted["eta"] = self._eta(refused, before).isoformat()
        return Move(
            refused.message,
            queue,
            noted,
            ack=partial(self._settle, refused, refused.ack),
            gone=partial(self._settle, refused, refused.gone),
            current=partial(self._current, refused),
            acknowledged=refused.acknowledged,
        )

    def _eta(self, refused: Refused, note: Note) -> datetime:
        assert refused.cell is not None
        options = self._app.conf.broker_transport_options or {}
        visible = float(options.get("visibility_timeout") or _FALLBACK_VISIBILITY)
        seconds = deferrals.delay(
            self._registry.retry_after(refused.cell),
            refused.cell.policy,
            deferrals=note.deferrals,
            cap=min(visible / 2, deferrals.LONGEST_DELAY),
            u=random.random(),
        )
        return datetime.now(timezone.utc) + timedelta(seconds=seconds)

    def _record(self, refused: Refused, move: Move) -> None:
        """Show the state, before the message can run again: a state written later could hide its result."""
        if refused.ignores_result or refused.cell is None:
            return
        task, context = refused.task, context_of(refused.message)
        if not context.id or self._registry.clock() < self._records_from:
            return
        try:
            task.backend.store_result(context.id, self._info(refused, refused.cell, move), DEFERRED, request=context)
            self._records_from = 0.0
        except Exception as exc:
            if not self._records_from:
                logger.warning("the state %s cannot be stored; tasks are parked all the same: %r", DEFERRED, exc)
            self._records_from = self._registry.clock() + _UNRECORDED

    def _info(self, refused: Refused, cell: Cell, move: Move) -> dict[str, object]:
        """What the result of a deferred task tells."""
        retry_after = self._registry.retry_after(cell) if refused.wait is None else refused.wait
        probe = None if retry_after is None else datetime.now(timezone.utc) + timedelta(seconds=retry_after)
        return {
            "breaker": cell.name,
            "next_probe": probe.isoformat() if probe else None,
            "deferrals": Note.of(move.headers).deferrals,
        }

    def _fail(self, refused: Refused) -> None:
        """Fail the task; one whose failure cannot be recorded is let go after a few tries."""
        exc = refused.error
        if exc is None:
            assert refused.cell is not None
            exc = BreakerOpen(refused.name, self._registry.retry_after(refused.cell))
        failing, name = Failing(refused.task, refused.message, exc), refused.task.name
        logger.debug("task %s[%s] fails: %s", name, failing.context.id, exc)
        try:
            failing.record(stored=not refused.ignores_result or bool(refused.task.store_errors_even_if_ignored))
        except Exception as failure:
            self._tries[id(refused)] += 1
            if self._tries[id(refused)] < _TRIES:
                raise
            logger.error("the failure of task %s[%s] could not be recorded: %r", name, failing.context.id, failure)
        self._settle(refused, refused.ack)
        failing.tell(self._loop.send_event)
        if refused.error is None:
            self._tell(refused, Note.of(refused.message.headers).deferrals)

    def _tell(self, refused: Refused, count: int) -> None:
        task_id = refused.message.headers.get("id")
        logger.debug(
            "task %s[%s] set aside by breaker %r: %s",
            refused.task.name,
            task_id,
            refused.name,
            refused.action,
            extra={"breaker": refused.name},
        )
        tell_deferred(
            self._app,
            self._registry,
            refused.name,
            task_id=task_id,
            task_name=refused.task.name,
            action=refused.action,
            deferrals=count,
        )


def close_stale_database_connections() -> None:
    """Django keeps a connection for each thread, and closes stale ones only where a request or a task ends."""
    db, conf = sys.modules.get("django.db"), sys.modules.get("django.conf")
    if db is not None and conf is not None and conf.settings.configured:  # some import Django and do not use it
        db.close_old_connections()
