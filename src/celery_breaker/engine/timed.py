"""A store whose operations are told to meters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ParamSpec, TypeVar

from celery_breaker.clock import Clock
from celery_breaker.core.journal import Book
from celery_breaker.core.lease import Lease
from celery_breaker.core.record import Record
from celery_breaker.core.windows import Delta, Totals, Window
from celery_breaker.engine.meters import Meter
from celery_breaker.errors import StoreError
from celery_breaker.stores.base import Snapshot, Store

__all__ = ["TimedStore"]

P = ParamSpec("P")
R = TypeVar("R")


class TimedStore:
    """Implements `Store` on another one, and tells a meter how long each operation took. Thread-safe if they are."""

    def __init__(self, store: Store, meter: Meter, *, clock: Clock) -> None:
        self.url: str = store.url
        self._store = store
        self._meter = meter
        self._clock = clock

    def _timed(self, name: str, operation: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        started = self._clock()
        try:
            result = operation(*args, **kwargs)
        except StoreError:
            self._meter.store_used(name, self._clock() - started, failed=True)
            raise
        self._meter.store_used(name, self._clock() - started, failed=False)
        return result

    def read(self, names: Iterable[str]) -> Snapshot:
        """See `Store.read`."""
        return self._timed("read", self._store.read, names)

    def tally(self, name: str, delta: Delta, window: Window, *, generation: int, worker: str) -> Totals:
        """See `Store.tally`."""
        return self._timed("tally", self._store.tally, name, delta, window, generation=generation, worker=worker)

    def swap(self, record: Record, *, expected: int) -> bool:
        """See `Store.swap`."""
        return self._timed("swap", self._store.swap, record, expected=expected)

    def lease(self, key: str, holder: str, *, limit: int, ttl: float) -> Lease:
        """See `Store.lease`."""
        return self._timed("lease", self._store.lease, key, holder, limit=limit, ttl=ttl)

    def release(self, key: str, holder: str) -> None:
        """See `Store.release`."""
        self._timed("release", self._store.release, key, holder)

    def note(self, name: str, book: Book, entries: Sequence[str]) -> None:
        """See `Store.note`."""
        self._timed("note", self._store.note, name, book, entries)

    def notes(self, name: str, book: Book) -> list[str]:
        """See `Store.notes`."""
        return self._timed("notes", self._store.notes, name, book)

    def names(self) -> list[str]:
        """See `Store.names`."""
        return self._timed("names", self._store.names)

    def forget(self, name: str) -> None:
        """See `Store.forget`."""
        self._timed("forget", self._store.forget, name)

    def now(self) -> float:
        """See `Store.now`."""
        return self._timed("now", self._store.now)

    def after_fork(self) -> None:
        """See `Store.after_fork`."""
        self._store.after_fork()

    def close(self) -> None:
        """See `Store.close`."""
        self._store.close()
