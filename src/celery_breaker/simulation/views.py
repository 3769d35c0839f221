"""How workers see the record: they read it again and again, are told of changes, and change it by compare-and-set.

A worker reads the record at each of its rounds, whatever there is to see. So reads are counted by division (`rounds`),
and only those that can find something new are put on the timeline: ten thousand workers cost nothing while
nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

from celery_breaker.core.events import Change, change_between
from celery_breaker.core.record import Record
from celery_breaker.simulation.scenario import Fleet
from celery_breaker.simulation.store import SimulatedStore
from celery_breaker.simulation.timeline import Timeline
from celery_breaker.simulation.worker import NOTHING, Worker

__all__ = ["Step", "Views"]

Step = Callable[[Record, float], Record]
"""(record, now) → the record as it should become."""


class Views:
    """The workers' views of one record.

    Attributes:
        watchers: called with (worker, record before) when a view has changed.
        written: called with (before, after, change) right after each write; ``change`` as `change_between` says.
        refreshed: called when all views may have changed.
    """

    def __init__(self, timeline: Timeline, store: SimulatedStore, workers: Sequence[Worker], fleet: Fleet) -> None:
        self._timeline = timeline
        self._store = store
        self._workers = workers
        self._fleet = fleet
        self.watchers: list[Callable[[Worker, Record], None]] = []
        self.written: list[Callable[[Record, Record, Change | None], None]] = []
        self.refreshed: Callable[[], None] = lambda: None

    # --- rounds -----------------------------------------------------------------------------------------------------

    def round_at(self, worker: Worker, when: float) -> int:
        """The number of a worker's last round up to second ``when``; the first is 0."""
        return math.floor((when - worker.phase) / self._fleet.refresh_interval)

    def time_of(self, worker: Worker, number: int) -> float:
        """The second of a worker's round."""
        return worker.phase + number * self._fleet.refresh_interval

    def rounds(self, start: float, end: float) -> int:
        """Rounds of all workers later than ``start`` and up to ``end``; each is one read."""
        return sum(self.round_at(worker, end) - self.round_at(worker, start) for worker in self._workers)

    # --- seeing -----------------------------------------------------------------------------------------------------

    def see(self, worker: Worker, record: Record) -> None:
        """A worker's view becomes this record, unless it has seen a later one."""
        before = worker.view
        if record.version <= before.version:
            return
        if record.generation != before.generation:
            self._drop(worker)
            worker.full_until = -math.inf
        worker.see(record)
        for watcher in self.watchers:
            watcher(worker, before)

    def _drop(self, worker: Worker) -> None:
        """Results of an older generation no longer count; what the last round took in is sent all the same."""
        if worker.successes or worker.delta.calls:
            collected = self.round_at(worker, worker.pending_since) < self.round_at(worker, self._timeline.now)
            worker.stale = worker.stale or collected
            worker.successes, worker.delta = 0, NOTHING

    def _expect_reads(self) -> None:
        """There is news: the next read of each worker will find it."""
        now, latency = self._timeline.now, self._fleet.store_latency
        for worker in self._workers:
            if not worker.reading:
                worker.reading = True
                self._timeline.at(self.time_of(worker, self.round_at(worker, now) + 1) + latency, self._read, worker)

    def _read(self, worker: Worker) -> None:
        """A periodic read; `rounds` counts it."""
        worker.reading = False
        self.see(worker, self._store.record)
        self.refreshed()

    def _hint(self) -> None:
        """An announcement has reached all workers: each reads at once."""
        records = [self._store.read() for _ in self._workers]
        self._timeline.after(self._fleet.store_latency, self._hinted, records[-1])

    def _hinted(self, record: Record) -> None:
        for worker in self._workers:
            self.see(worker, record)
        self.refreshed()

    # --- changing ---------------------------------------------------------------------------------------------------

    def change(self, worker: Worker, step: Step) -> Generator[float, None, None]:
        """A worker applies ``step``; losing against another, it reads again and tries anew. The winner announces it."""
        latency = self._fleet.store_latency
        while True:
            before = worker.view
            after = step(before, self._timeline.now)
            if after is before:
                return
            if self._store.swap(after, expected=before.version):
                after = replace(after, version=before.version + 1)
                change = change_between(before, after, at=self._timeline.now)
                for listener in self.written:
                    listener(before, after, change)
                self._expect_reads()
                yield latency
                self.see(worker, after)
                if change is not None and self._fleet.bus_delay is not None:
                    self._timeline.after(self._fleet.bus_delay, self._hint)
                self.refreshed()
                return
            yield latency
            record = self._store.read()
            yield latency
            self.see(worker, record)
