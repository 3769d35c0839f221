"""A store in the memory of one process: for tests, for scripts, and for workers cut off from theirs."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from celery_breaker.clock import Clock
from celery_breaker.core.counts import Counts
from celery_breaker.core.journal import Book
from celery_breaker.core.lease import Lease, leased
from celery_breaker.core.record import Record
from celery_breaker.core.windows import Delta, Totals, Window
from celery_breaker.stores.base import Snapshot

__all__ = ["MemoryStore"]

_SWEEP = 60.0
"""Seconds between two looks for leases that have run out."""


class MemoryStore:
    """Implements `Store`. Thread-safe; nothing is shared with other processes.

    Args:
        clock: seconds; wall time unless a test gives its own.

    Example:
        >>> MemoryStore().swap(Record(name="smtp"), expected=0)
        True
    """

    url = "memory://"

    def __init__(self, clock: Clock = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._records: dict[str, Record] = {}
        self._counts: dict[str, Counts] = {}
        self._leases: dict[str, dict[str, float]] = {}
        self._sweep_at = 0.0
        self._books: dict[tuple[str, Book], deque[str]] = {}

    def read(self, names: Iterable[str]) -> Snapshot:
        """See `Store.read`."""
        with self._lock:
            return Snapshot(self._clock(), {name: self._records.get(name) or Record(name=name) for name in names})

    def tally(self, name: str, delta: Delta, window: Window, *, generation: int, worker: str) -> Totals:
        """See `Store.tally`."""
        now = self._clock()
        with self._lock:
            counts = self._counts.get(name) or Counts()
            totals = counts.tally(delta, window, generation=generation, worker=worker, now=now)
            if delta.calls:
                self._counts[name] = counts
            return totals

    def swap(self, record: Record, *, expected: int) -> bool:
        """See `Store.swap`."""
        with self._lock:
            stored = self._records.get(record.name)
            if (stored.version if stored else 0) != expected:
                return False
            self._records[record.name] = replace(record, version=expected + 1)
            return True

    def lease(self, key: str, holder: str, *, limit: int, ttl: float) -> Lease:
        """See `Store.lease`."""
        now = self._clock()
        with self._lock:
            self._sweep(now)
            answer, self._leases[key] = leased(self._leases.get(key, {}), holder, limit=limit, ttl=ttl, now=now)
            return answer

    def _sweep(self, now: float) -> None:
        """Generations pass, and with them the keys of their permits."""
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP
            present = {key: {who: end for who, end in held.items() if end > now} for key, held in self._leases.items()}
            self._leases = {key: held for key, held in present.items() if held}

    def release(self, key: str, holder: str) -> None:
        """See `Store.release`."""
        with self._lock:
            held = self._leases.get(key, {})
            held.pop(holder, None)
            if not held:
                self._leases.pop(key, None)

    def note(self, name: str, book: Book, entries: Sequence[str]) -> None:
        """See `Store.note`."""
        with self._lock:
            self._books.setdefault((name, book), deque(maxlen=book.keep)).extendleft(entries)

    def notes(self, name: str, book: Book) -> list[str]:
        """See `Store.notes`."""
        with self._lock:
            return list(self._books.get((name, book), ()))

    def names(self) -> list[str]:
        """See `Store.names`."""
        with self._lock:
            return list(self._records)

    def forget(self, name: str) -> None:
        """See `Store.forget`."""
        with self._lock:
            self._records.pop(name, None)
            self._counts.pop(name, None)
            for book in Book:
                self._books.pop((name, book), None)

    def now(self) -> float:
        """See `Store.now`."""
        return self._clock()

    def close(self) -> None:
        """See `Store.close`; there is nothing to give back."""

    def after_fork(self) -> None:
        """Make a copy in a forked child usable, whoever held the lock at the fork."""
        self._lock = threading.Lock()
