"""One look each second for all who watch: pages, streams and metrics read it, and cost the store nothing more."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from celery_breaker.clock import Clock, monotonic
from celery_breaker.core.record import State
from celery_breaker.core.windows import Totals
from celery_breaker.engine.background import Background
from celery_breaker.engine.news import isolated
from celery_breaker.engine.view import Cell
from celery_breaker.errors import BreakerError
from celery_breaker.status.desk import Desk
from celery_breaker.status.model import Status
from celery_breaker.status.ports import WorkerSeen
from celery_breaker.status.series import Series

__all__ = ["Sampler", "Seen"]

logger = logging.getLogger(__name__)

_ROUND = 5.0
"""Seconds in which the window of each quiet breaker has its turn."""

_FEW, _MANY = 50, 500
"""Windows of quiet breakers that are looked at in one go: so few always, and never more; then a round takes longer."""

_WORKERS_EVERY = 5.0
"""Seconds between two times that the workers are asked."""

_REST = 3.0
"""Pause after a look, as a multiple of what it took: very many breakers are looked at less often."""

_NOTHING = Totals(now=0.0)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen last.

    Attributes:
        number: grows by one with each look.
        at: by the store's clock, in seconds; 0 before the first look that succeeded.
        statuses: of all breakers, by name.
        workers: ``None`` if they cannot be asked.
        error: why the last look failed; empty if it did not. What was seen before then stays.

    Example:
        >>> Seen().number
        0
    """

    number: int = 0
    at: float = 0.0
    statuses: Mapping[str, Status] = field(default_factory=dict)
    workers: tuple[WorkerSeen, ...] | None = None
    error: str = ""


class Sampler:
    """Looks at a desk at intervals, from a thread of its own, and keeps what it saw. Thread-safe.

    Of each breaker it reads the record and the length of the parking queue each time; the window too where something
    is going on, and else by turns, so that ten thousand idle breakers cost a few round trips.

    Args:
        interval: seconds between two looks; more where one takes long.
        clock: of the process, in seconds.
        ask_workers: ask the workers too, now and then, over remote control.

    Example:
        For a board of your own::

            sampler = Sampler(current_desk())
            sampler.listen(lambda seen: board.show(seen.statuses, seen.error))
            sampler.start()
    """

    def __init__(
        self, desk: Desk, *, interval: float = 1.0, clock: Clock = monotonic, ask_workers: bool = True
    ) -> None:
        self.desk = desk
        self.interval = interval
        self._clock = clock
        self._ask_workers = ask_workers
        self._workers: tuple[WorkerSeen, ...] | None = None
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._seen = Seen()
        self._series: dict[str, Series] = {}
        self._totals: dict[str, Totals] = {}
        self._turn: list[str] = []
        self._due: frozenset[str] = frozenset()
        self._listeners: list[Callable[[Seen], object]] = []
        self._background = Background(self._work, name="celery-breaker-sampler")
        self._asking = Background(self._ask, name="celery-breaker-workers")  # an answer takes its time

    @property
    def seen(self) -> Seen:
        """What was seen last; never waits."""
        return self._seen

    def series(self, name: str) -> Series:
        """How a breaker did lately; empty if it was never seen."""
        return self._series.get(name) or Series()

    def listen(self, listener: Callable[[Seen], object]) -> Callable[[], None]:
        """Call ``listener`` after each look, from the sampler's thread, isolated; what is returned ends that."""
        with self._lock:
            self._listeners.append(listener)

        def stop() -> None:
            with self._lock:
                self._listeners.remove(listener)

        return stop

    def start(self) -> None:
        """Start looking."""
        self._background.start()
        if self._ask_workers:
            self._asking.start()

    def look_soon(self) -> None:
        """Look now rather than later: something was changed. Never waits."""
        self._background.wake()

    def stop(self) -> None:
        """Stop looking."""
        self._asking.stop()
        self._background.stop()

    def _work(self) -> float:
        started = self._clock()
        self.look()
        took = self._clock() - started
        return max(0.05, self.interval - took, _REST * took)

    def first(self) -> Seen:
        """What was seen last; looks if nothing was, and waits for whoever is at it."""
        with self._looking:
            return self._seen if self._seen.number else self._look()

    def look(self) -> Seen:
        """Look now, in this thread; one look follows another."""
        with self._looking:
            return self._look()

    def _look(self) -> Seen:
        before = self._seen
        try:
            statuses = {status.name: status for status in self.desk.statuses(totals=self._window)}
        except BreakerError as exc:
            seen = Seen(before.number + 1, before.at, before.statuses, self._workers, error=str(exc))
        else:
            now = self.desk.registry.link.now()
            self._keep(statuses, now)
            seen = Seen(before.number + 1, now, statuses, self._workers)
        self._seen = seen
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            isolated(listener, seen)
        return seen

    def _keep(self, statuses: Mapping[str, Status], now: float) -> None:
        for name, status in statuses.items():
            self._series.setdefault(name, Series()).seen(status, at=now)
        for name in self._series.keys() - statuses.keys():
            del self._series[name]
            self._totals.pop(name, None)
        if not self._turn:
            self._turn = sorted(statuses)
        share = min(max(_FEW, math.ceil(len(statuses) * self.interval / _ROUND)), _MANY)
        self._due, self._turn = frozenset(self._turn[:share]), self._turn[share:]

    def _window(self, cell: Cell) -> Totals:
        """The window of a breaker; what was seen last if nothing goes on and it is not its turn."""
        known = self._totals.get(cell.name, _NOTHING)
        if known.calls or cell.record.state is not State.CLOSED or cell.name in self._due:
            known = self._totals[cell.name] = self.desk.registry.totals(cell)
        return known

    def _ask(self) -> float:
        found = self.desk.fleet.workers(wait=0.5)
        self._workers = None if found is None else tuple(found)
        return _WORKERS_EVERY
