"""The simulated store: one breaker's record, window and leases, on simulated time, each operation counted."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from itertools import islice

from celery_breaker.core.lease import Lease, leased
from celery_breaker.core.record import Record
from celery_breaker.core.windows import Delta, Totals, Window
from celery_breaker.simulation.timeline import Timeline

__all__ = ["SimulatedStore"]


@dataclass(slots=True)
class _Bucket:
    """What fell into one step of the window."""

    index: int
    calls: int = 0
    failures: int = 0
    slow: int = 0
    workers: Counter[Hashable] = field(default_factory=Counter)


class SimulatedStore:
    """Does what a `Store` does, for one breaker. A lost swap or lease is an operation like any other.

    Unlike a real one it adds up the window only for whoever looks at the sum: thousands of workers that report
    successes do not.

    Attributes:
        record: as it stands; `read` is what a worker has to do to see it.
    """

    def __init__(self, timeline: Timeline, record: Record, window: Window, count: Callable[[str, int], None]) -> None:
        self.record = record
        self._timeline = timeline
        self._window = window
        self._count = count
        self._leases: dict[Hashable, dict[Hashable, float]] = {}
        self._begin(-1)

    def _begin(self, generation: int) -> None:
        self._generation = generation
        self._calls = self._streak = 0
        self._buckets: deque[_Bucket] = deque()
        self._workers: Counter[Hashable] = Counter()

    def read(self) -> Record:
        """The record, in one operation."""
        self._count("read", 1)
        return self.record

    def swap(self, record: Record, *, expected: int) -> bool:
        """Write it as version ``expected + 1`` if the record is of version ``expected``; whether it was."""
        self._count("swap", 1)
        if self.record.version != expected:
            return False
        self.record = replace(record, version=expected + 1)
        return True

    # --- the window -------------------------------------------------------------------------------------------------

    def tally(self, delta: Delta, *, generation: int, worker: Hashable) -> None:
        """Add to the window of this generation; what it adds up to then is `totals`, in the same operation."""
        self._count("tally", 1)
        if not delta.calls:
            return
        if generation > self._generation:
            self._begin(generation)
        if generation == self._generation:
            self._add(delta, worker)

    def totals(self, generation: int, *, workers: int) -> Totals:
        """What the window of this generation adds up to; part of the `tally` that it follows.

        Names at most so many workers that saw failures: rules ask only whether there are enough.
        """
        now = self._timeline.now
        if generation != self._generation:
            return Totals(now=now)
        self._expire(self._window.bucket_at(now, self._calls))
        calls = failures = slow = 0
        for bucket in self._buckets:
            calls += bucket.calls
            failures += bucket.failures
            slow += bucket.slow
        seen = {str(worker): amount for worker, amount in islice(self._workers.items(), workers)}
        return Totals(now=now, calls=calls, failures=failures, slow=slow, streak=self._streak, workers=seen)

    def _add(self, delta: Delta, worker: Hashable) -> None:
        window = self._window
        self._calls += delta.calls
        self._streak = delta.streak_after(self._streak)
        current = window.bucket_at(self._timeline.now, self._calls)
        self._expire(current)
        if not self._buckets or self._buckets[-1].index != current:
            self._buckets.append(_Bucket(current))
        bucket = self._buckets[-1]
        bucket.calls += window.counted(delta)
        bucket.failures += delta.failures
        bucket.slow += delta.slow
        if delta.failures:
            bucket.workers[worker] += delta.failures
            self._workers[worker] += delta.failures

    def _expire(self, current: int) -> None:
        while self._buckets and self._buckets[0].index <= current - self._window.buckets:
            for worker, amount in self._buckets.popleft().workers.items():
                self._workers[worker] -= amount
                if not self._workers[worker]:
                    del self._workers[worker]

    # --- leases -----------------------------------------------------------------------------------------------------

    def lease(self, key: Hashable, holder: Hashable, *, limit: int, ttl: float) -> Lease:
        """Hold one of ``limit`` places at ``key`` for ``ttl`` seconds, or hold it for longer; true if it is held."""
        self._count("lease", 1)
        held, now = self._leases.get(key, {}), self._timeline.now
        answer, self._leases[key] = leased(held, holder, limit=limit, ttl=ttl, now=now)
        return answer

    def release(self, key: Hashable, holder: Hashable) -> None:
        """Give the place back."""
        self._count("release", 1)
        self._leases.get(key, {}).pop(holder, None)

    def held(self, key: Hashable) -> bool:
        """Whether anybody holds a place; no operation, but what one would find."""
        return any(until > self._timeline.now for until in self._leases.get(key, {}).values())
