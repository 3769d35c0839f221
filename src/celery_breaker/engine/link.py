"""The link to the store: falls back to this process's own memory while the store is out of reach."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from celery_breaker.clock import Clock
from celery_breaker.core.record import Record
from celery_breaker.engine.meters import Meter
from celery_breaker.engine.timed import TimedStore
from celery_breaker.errors import StoreError
from celery_breaker.stores.base import Store
from celery_breaker.stores.memory import MemoryStore

__all__ = ["Link"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_RETRY = 0.5
_LAST_RETRY = 4.0
"""Seconds between attempts to rejoin; the last keeps a return within five seconds."""


class Link:
    """Runs operations on the store, or on a local copy while the store is away. Thread-safe; never raises `StoreError`.

    Args:
        meter: is told of each operation on the store, though not of those on this process's own memory.

    Attributes:
        shared: the store.
        timed: the store too, for who must know that it failed; the meter is told.
        offset: seconds to add to the process's clock to get the store's.
    """

    def __init__(
        self, store: Store, *, clock: Clock, views: Callable[[], Iterable[Record]], meter: Meter | None = None
    ) -> None:
        self.shared = store
        self.timed: TimedStore = TimedStore(store, Meter() if meter is None else meter, clock=clock)
        self.offset: float = 0.0
        self._clock = clock
        self._views = views
        self._place: tuple[MemoryStore | None, int] = None, 0  # this process's own memory if it stands in; the epoch
        self._retry_at = 0.0
        self._pause = _FIRST_RETRY
        self._lock = threading.Lock()

    @property
    def connected(self) -> bool:
        """Whether operations reach the store."""
        return self._place[0] is None

    @property
    def epoch(self) -> int:
        """Changes whenever the link moves from one store to the other; generations and versions of different epochs do
        not compare.
        """
        return self._place[1]

    def now(self) -> float:
        """Seconds by the store's clock, as far as this process knows; no round trip."""
        return self._clock() + self.offset

    def heard(self, store_now: float) -> None:
        """Learn the store's time from an answer."""
        self.offset = store_now - self._clock()

    def run(self, operation: Callable[[Store], T]) -> T:
        """Run on the store; if that fails, on this process's own memory, which then stands in until `rejoin`."""
        return self.ask(operation)[0]

    def ask(self, operation: Callable[[Store], T]) -> tuple[T, int]:
        """As `run` does it, and the epoch of the store that answered."""
        local, epoch = self._place
        if local is None:
            try:
                return operation(self.timed), epoch
            except StoreError as exc:
                local, epoch = self._fall_back(exc)
        return operation(local), epoch

    def _fall_back(self, exc: StoreError) -> tuple[MemoryStore, int]:
        with self._lock:
            local, epoch = self._place
            if local is None:
                logger.warning(
                    "store is out of reach, this process goes on with breakers of its own: %s",
                    exc,
                    extra={"store": self.shared.url},
                )
                local = MemoryStore(self.now)
                for record in self._views():
                    local.swap(record, expected=0)
                epoch += 1
                self._pause = _FIRST_RETRY
                self._retry_at = self._clock() + self._pause
                self._place = local, epoch
            return local, epoch

    def retry_in(self) -> float:
        """Seconds until `rejoin` may be worth while; infinite while the store is there."""
        return math.inf if self.connected else self._retry_at - self._clock()

    def rejoin(self) -> bool:
        """Try the store again if it is time; whether the link has just been restored."""
        if self.connected or self._clock() < self._retry_at:
            return False
        try:
            now = self.timed.now()
        except StoreError:
            self._pause = min(self._pause * 2, _LAST_RETRY)
            self._retry_at = self._clock() + self._pause
            return False
        with self._lock:
            local, epoch = self._place
            if local is None:
                return False  # another thread was faster
            self.heard(now)
            self._place = None, epoch + 1
        logger.warning("store is back, this process shares its breakers again", extra={"store": self.shared.url})
        return True

    def after_fork(self) -> None:
        """Make a copy in a forked child usable."""
        self._lock = threading.Lock()
        for store in (self._place[0], self.shared):
            if store is not None:
                store.after_fork()
