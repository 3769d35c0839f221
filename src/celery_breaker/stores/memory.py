"""A store in the memory of one process: for tests, for scripts, and for workers cut off from theirs."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from celery_breaker.clock import Clock
from celery_breaker.core.record import Record
from celery_breaker.core.windows import Delta, Totals, Window
from celery_breaker.stores.base import Snapshot

__all__ = ["MemoryStore"]


@dataclass(slots=True)
class _Counts:
    """The window of one generation: per bucket [calls, failures, slow] and the failures of each worker."""

    generation: int
    calls: int = 0
    streak: int = 0
    buckets: dict[int, list[int]] = field(default_factory=dict)
    workers: dict[int, dict[str, int]] = field(default_factory=dict)


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
        self._counts: dict[str, _Counts] = {}
        self._leases: defaultdict[str, dict[str, float]] = defaultdict(dict)

    def read(self, names: Iterable[str]) -> Snapshot:
        """See `Store.read`."""
        with self._lock:
            return Snapshot(self._clock(), {name: self._records.get(name) or Record(name=name) for name in names})

    def tally(self, name: str, delta: Delta, window: Window, *, generation: int, worker: str) -> Totals:
        """See `Store.tally`."""
        now = self._clock()
        with self._lock:
            counts = self._counts.get(name)
            if delta.calls and (counts is None or counts.generation < generation):
                counts = self._counts[name] = _Counts(generation)
            if counts is None or counts.generation != generation:
                return Totals(now=now)
            if delta.calls:
                _add(counts, delta, window, now, worker)
            return _total(counts, window, now)

    def swap(self, record: Record, *, expected: int) -> bool:
        """See `Store.swap`."""
        with self._lock:
            stored = self._records.get(record.name)
            if (stored.version if stored else 0) != expected:
                return False
            self._records[record.name] = replace(record, version=expected + 1)
            return True

    def lease(self, key: str, holder: str, *, limit: int, ttl: float) -> bool:
        """See `Store.lease`."""
        now = self._clock()
        with self._lock:
            holders = {other: until for other, until in self._leases[key].items() if until > now}
            held = holder in holders or len(holders) < limit
            if held:
                holders[holder] = now + ttl
            self._leases[key] = holders
            return held

    def release(self, key: str, holder: str) -> None:
        """See `Store.release`."""
        with self._lock:
            self._leases[key].pop(holder, None)
            if not self._leases[key]:
                del self._leases[key]

    def names(self) -> list[str]:
        """See `Store.names`."""
        with self._lock:
            return list(self._records)

    def forget(self, name: str) -> None:
        """See `Store.forget`."""
        with self._lock:
            self._records.pop(name, None)
            self._counts.pop(name, None)

    def now(self) -> float:
        """See `Store.now`."""
        return self._clock()

    def close(self) -> None:
        """See `Store.close`; there is nothing to give back."""

    def after_fork(self) -> None:
        """Make a copy in a forked child usable, whoever held the lock at the fork."""
        self._lock = threading.Lock()


def _add(counts: _Counts, delta: Delta, window: Window, now: float, worker: str) -> None:
    counts.calls += delta.calls
    counts.streak = delta.streak_after(counts.streak)
    current = window.bucket_at(now, counts.calls)
    bucket = counts.buckets.setdefault(current, [0, 0, 0])
    for index, amount in enumerate((window.counted(delta), delta.failures, delta.slow)):
        bucket[index] += amount
    if delta.failures:
        seen = counts.workers.setdefault(current, {})
        seen[worker] = seen.get(worker, 0) + delta.failures
    for kept in (counts.buckets, counts.workers):
        for expired in [index for index in kept if not _live(index, current, window)]:
            del kept[expired]


def _live(index: int, current: int, window: Window) -> bool:
    """Whether a bucket is in the window; one of the future was numbered by a window of another span."""
    return current - window.buckets < index <= current


def _total(counts: _Counts, window: Window, now: float) -> Totals:
    current = window.bucket_at(now, counts.calls)
    live = [bucket for index, bucket in counts.buckets.items() if _live(index, current, window)]
    calls, failures, slow = (sum(bucket[place] for bucket in live) for place in range(3))
    workers: dict[str, int] = {}
    for index, seen in counts.workers.items():
        if _live(index, current, window):
            for worker, amount in seen.items():
                workers[worker] = workers.get(worker, 0) + amount
    return Totals(now=now, calls=calls, failures=failures, slow=slow, streak=counts.streak, workers=workers)
