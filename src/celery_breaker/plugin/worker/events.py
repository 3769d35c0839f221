"""Events: what a worker tells monitors of its breakers, beside the events of its tasks. Documented in docs/control.md.

They are sent only while the worker sends task events, and named breaker-*: monitors take task-* for a task's own.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from celery_breaker.clock import Clock
from celery_breaker.core import machine
from celery_breaker.core.record import Mode, Record, State
from celery_breaker.engine.background import Background
from celery_breaker.engine.meters import Meter
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Cell

__all__ = ["Events", "Throttle"]

_PAUSE = 1.0
"""Seconds between two events of one kind about one breaker, where what happens meanwhile is counted."""

_NEWS = 60.0
"""Seconds after which a change that somebody else made is no news."""

_ONCE = 600.0
"""Seconds for which it is remembered that a change was told."""

_IDLE = 60.0

_KINDS = {State.OPEN: "breaker-opened", State.HALF_OPEN: "breaker-half-opened", State.CLOSED: "breaker-closed"}

_DEFERRED, _RELEASED = "breaker-task-deferred", "breaker-task-released"


@dataclass(slots=True)
class Throttle:
    """Counts of what happens often, given out at most once a second for each key. Not thread-safe.

    Example:
        >>> throttle = Throttle()
        >>> throttle.add(("deferred", "smtp"), "park", 2)
        >>> throttle.due(now=0.0), throttle.due(now=0.5)
        ([(('deferred', 'smtp'), Counter({'park': 2}))], [])
    """

    _counts: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    _sent: dict[tuple[str, str], float] = field(default_factory=dict)

    def add(self, key: tuple[str, str], what: str, count: int) -> None:
        """Count."""
        self._counts.setdefault(key, Counter())[what] += count

    def due(self, now: float) -> list[tuple[tuple[str, str], Counter[str]]]:
        """What may be told now, and is from then on."""
        self._sent = {key: at for key, at in self._sent.items() if now - at < _PAUSE}
        ripe = [key for key in self._counts if key not in self._sent]
        self._sent.update(dict.fromkeys(ripe, now))
        return [(key, self._counts.pop(key)) for key in ripe]

    def pause(self, now: float) -> float:
        """Seconds until more is due."""
        return min([_PAUSE + self._sent[key] - now for key in self._counts if key in self._sent], default=_IDLE)


class Events(Meter):
    """Tells monitors, from a thread of its own, of changes that this worker sees and of tasks that it sets aside.

    A change is told by one worker: whoever takes the change's lease in the store first, which is the one that made the
    change if a worker did. So what a command line or a dashboard changes is told too. `seen`, `deferred` and `released`
    never wait, and do nothing while no monitor is told anything.

    Args:
        send: tells monitors, ``send(kind, **fields)``.
        monitored: whether they are told.
    """

    def __init__(self, registry: Registry, *, send: Callable[..., object], monitored: Callable[[], bool]) -> None:
        self._registry = registry
        self._send = send
        self._monitored = monitored
        self._clock: Clock = registry.clock
        self._changes: deque[tuple[Cell, Record, Record]] = deque()
        self._throttle = Throttle()
        self._lock = threading.Lock()
        self._background = Background(self._work, name="celery-breaker-events")

    def seen(self, cell: Cell, before: Record) -> None:
        """This worker's view of a breaker changed; its first view is no change."""
        if cell.known and _in_force(before) is not _in_force(cell.record) and self._monitored():
            self._changes.append((cell, before, cell.record))
            self._background.wake()

    def deferred(self, name: str, action: str) -> None:
        """See `Meter.deferred`."""
        self._count((_DEFERRED, name), action, 1)

    def released(self, name: str, count: int) -> None:
        """See `Meter.released`."""
        self._count((_RELEASED, name), "released", count)

    def stop(self) -> None:
        """Tell what is left, if anybody still listens, and end the thread."""
        self._background.stop()

    def _count(self, key: tuple[str, str], what: str, count: int) -> None:
        if self._monitored():
            with self._lock:
                self._throttle.add(key, what, count)
            self._background.wake()

    def _work(self) -> float:
        while self._changes:
            self._tell(*self._changes.popleft())
        with self._lock:
            counts, pause = self._throttle.due(self._clock()), self._throttle.pause(self._clock())
        for (kind, name), count in counts:
            actions = {"actions": dict(count)} if kind == _DEFERRED else {}
            self._send(kind, name=name, count=count.total(), **actions)
        return pause

    def _tell(self, cell: Cell, before: Record, after: Record) -> None:
        now = self._registry.link.now()
        if now - _happened(before, after, now) > _NEWS or not self._first(cell, _key(before, after)):
            return
        override = after.override
        self._send(
            _KINDS[_in_force(after)],
            name=cell.name,
            state=str(_in_force(after)),
            mode=str(after.mode),
            generation=after.generation,
            retry_after=machine.retry_after(after, now),
            trips=after.trips,
            reason=override.reason if override is not None and override != before.override else after.reason,
            by=override.by if override is not None and override != before.override else "",
        )

    def _first(self, cell: Cell, change: str) -> bool:
        """Whether no other worker has told this; each tells of a breaker that it keeps for itself."""
        if cell.policy.scope == "worker":
            return True
        key, holder = f"{cell.name}:{change}:told", os.urandom(8).hex()
        return bool(self._registry.link.run(lambda store: store.lease(key, holder, limit=1, ttl=_ONCE)))


def _in_force(record: Record) -> State:
    """What an operator forces open is open."""
    return State.OPEN if record.mode is Mode.FORCED_OPEN else record.state


def _happened(before: Record, after: Record, now: float) -> float:
    """When, by the store's clock; nobody notes when an override was lifted."""
    if after.override is not None:
        return max(after.since, after.override.since)
    return now if before.override is not None else after.since


def _key(before: Record, after: Record) -> str:
    """The same for all who see this change."""
    forced = next((r.override for r in (after, before) if r.override and r.mode is Mode.FORCED_OPEN), None)
    return f"{after.generation}:{_in_force(after)}:{forced.since if forced else 0}"
