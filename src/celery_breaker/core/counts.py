"""The window of a breaker as one value: what a store without counters of its own keeps, adds to and writes back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from celery_breaker.core.windows import Delta, Totals, Window

__all__ = ["Counts"]

_LARGEST = 2**53
"""What a float holds exactly."""


@dataclass(slots=True)
class Counts:
    """The window of one generation. Not frozen: a thousand workers' failures are not copied for each new one.

    Attributes:
        generation: whose calls are counted; -1 before the first.
        calls: all calls ever of this generation, which number the buckets of a sliding count.
        streak: failures in a row.
        buckets: per bucket [calls, failures, slow].
        workers: per bucket the failures of each worker.
    """

    generation: int = -1
    calls: int = 0
    streak: int = 0
    buckets: dict[int, list[int]] = field(default_factory=dict)
    workers: dict[int, dict[str, int]] = field(default_factory=dict)

    def tally(self, delta: Delta, window: Window, *, generation: int, worker: str, now: float) -> Totals:
        """Add a worker's delta and return what the window adds up to, as `Store.tally` has it.

        Example:
            >>> Counts().tally(Delta(calls=2), Window(span=60.0), generation=0, worker="w", now=10.0).calls
            2
        """
        if delta.calls and self.generation < generation:
            self.generation, self.calls, self.streak = generation, 0, 0
            self.buckets, self.workers = {}, {}
        if self.generation != generation:
            return Totals(now=now)
        if delta.calls:
            self._add(delta, window, now, worker)
        return self._total(window, now)

    def _add(self, delta: Delta, window: Window, now: float, worker: str) -> None:
        self.calls += delta.calls
        self.streak = delta.streak_after(self.streak)
        current = window.bucket_at(now, self.calls)
        bucket = self.buckets.setdefault(current, [0, 0, 0])
        for index, amount in enumerate((window.counted(delta), delta.failures, delta.slow)):
            bucket[index] += amount
        if delta.failures:
            seen = self.workers.setdefault(current, {})
            seen[worker] = seen.get(worker, 0) + delta.failures
        for kept in (self.buckets, self.workers):
            for expired in [index for index in kept if not _live(index, current, window)]:
                del kept[expired]

    def _total(self, window: Window, now: float) -> Totals:
        current = window.bucket_at(now, self.calls)
        live = [bucket for index, bucket in self.buckets.items() if _live(index, current, window)]
        calls, failures, slow = (sum(bucket[place] for bucket in live) for place in range(3))
        workers: dict[str, int] = {}
        for index, seen in self.workers.items():
            if _live(index, current, window):
                for worker, amount in seen.items():
                    workers[worker] = workers.get(worker, 0) + amount
        return Totals(now=now, calls=calls, failures=failures, slow=slow, streak=self.streak, workers=workers)

    def encode(self) -> str:
        """As JSON in ASCII: a list of generation, calls, streak, buckets, and each worker's failures by bucket."""
        buckets = [[index, *bucket] for index, bucket in self.buckets.items()]
        workers: dict[str, list[int]] = {}  # each name but once: a database may take no more than a megabyte
        for index, seen in self.workers.items():
            for worker, amount in seen.items():
                workers.setdefault(worker, []).extend((index, amount))
        return json.dumps([self.generation, self.calls, self.streak, buckets, workers], separators=(",", ":"))

    @classmethod
    def decode(cls, data: str | bytes) -> Counts:
        """Read what `encode` wrote; what a newer release adds is ignored.

        Raises:
            ValueError: the data are no counts.

        Example:
            >>> Counts.decode(Counts(generation=3, calls=5).encode()).calls
            5
        """
        try:
            generation, calls, streak, buckets, workers, *_ = json.loads(data)
            _check(generation, calls, streak)
            counts = cls(generation, calls, streak)
            for index, count, failures, slow, *_ in buckets:
                _check(index, count, failures, slow)
                counts.buckets[index] = [count, failures, slow]
            for worker, amounts in workers.items():
                for index, amount in zip(amounts[::2], amounts[1::2], strict=True):
                    _check(index, amount)
                    counts.workers.setdefault(index, {})[worker] = amount
        except (TypeError, AttributeError, RecursionError) as exc:
            raise ValueError(f"no counts of a breaker: {exc}") from None
        return counts


def _check(*numbers: int) -> None:
    """Raises ValueError if one of these cannot be counted with."""
    if not all(type(number) is int and abs(number) < _LARGEST for number in numbers):
        raise ValueError("no counts of a breaker: a number is none")


def _live(index: int, current: int, window: Window) -> bool:
    """Whether a bucket is in the window; one of the future was numbered by a window of another span."""
    return current - window.buckets < index <= current
