"""What all pages of a dashboard draw from: one look, put in order once, and journals that are read once for all."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

from celery_breaker.core import tending
from celery_breaker.core.journal import Entry
from celery_breaker.errors import StoreError
from celery_breaker.status import Status, urgent_first
from celery_breaker.status.sampler import Seen
from celery_breaker.web.board import Summary, summary_of
from celery_breaker.web.charts import SPARK_STEP, Spark, spark
from celery_breaker.web.console import Console
from celery_breaker.web.rows import Row, row_of

__all__ = ["Journal", "Wall"]

_READ_AGAIN = 5.0
"""Seconds after which a journal is read again although nothing seems to have changed."""

_KEEP = 60.0
"""Seconds after which a journal that nobody asked for is let go."""


@dataclass(frozen=True, slots=True)
class Journal:
    """The two books of a breaker, latest first; ``error`` says why they could not be read."""

    history: tuple[Entry, ...] = ()
    failures: tuple[Entry, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Read:
    """A journal, and what was known of the breaker when it was read."""

    journal: Journal
    known: object
    at: float


class Wall:
    """Shared by the pages of one console. Thread-safe."""

    def __init__(self, console: Console) -> None:
        self._desk = console.desk
        self._sampler = console.sampler
        self._lock = threading.Lock()
        self._ordered: tuple[Seen, tuple[Status, ...], Summary] | None = None
        self._sparks: dict[str, tuple[float, Spark]] = {}
        self._journals: dict[str, _Read] = {}

    def ordered(self, seen: Seen) -> tuple[tuple[Status, ...], Summary]:
        """All breakers, those first that need somebody, and what they add up to."""
        known = self._ordered
        if known is None or known[0] is not seen:
            found = tuple(urgent_first(seen.statuses.values()))
            known = self._ordered = (seen, found, summary_of(found))
            for name in list(self._sparks):
                if name not in seen.statuses:
                    self._sparks.pop(name, None)
        return known[1], known[2]

    def row(self, status: Status, seen: Seen) -> Row:
        """A breaker as a row."""
        grace = tending.LATE * self._desk.tend_interval
        return row_of(status, at=seen.at, spark=self._spark(status, seen.at), grace=grace)

    def _spark(self, status: Status, at: float) -> Spark:
        """Its sparkline, which moves on now and then and not with each look."""
        end = math.ceil(at / SPARK_STEP) * SPARK_STEP
        known = self._sparks.get(status.name)
        if known is None or known[0] != end:
            threshold = self._desk.catalogue.of(status.name).failure_rate
            known = (end, spark(self._sampler.series(status.name), end=end, threshold=threshold))
            self._sparks[status.name] = known
        return known[1]

    def journal(self, status: Status, seen: Seen) -> Journal:
        """Its journal, read when something may be new, whoever many look."""
        known = (*status.said, status.failures)
        read = self._journals.get(status.name)
        if read is None or (read.known != known and read.at != seen.at) or abs(seen.at - read.at) >= _READ_AGAIN:
            read = _Read(self._read(status.name, read), known, seen.at)
            with self._lock:
                self._journals = {name: one for name, one in self._journals.items() if abs(seen.at - one.at) < _KEEP}
                self._journals[status.name] = read
        return read.journal

    def _read(self, name: str, before: _Read | None) -> Journal:
        try:
            return Journal(tuple(self._desk.history(name)), tuple(self._desk.failures(name)))
        except StoreError as exc:
            known = before.journal if before else Journal()
            return Journal(known.history, known.failures, error=str(exc))

    def stale(self, name: str) -> None:
        """Somebody acted here: read its journal anew."""
        with self._lock:
            self._journals.pop(name, None)
