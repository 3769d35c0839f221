"""A meter that counts what happens under the names of the table, whatever keeps the counts."""

from __future__ import annotations

from celery_breaker.core.events import Change
from celery_breaker.core.record import State
from celery_breaker.engine.meters import Meter
from celery_breaker.metrics import table
from celery_breaker.metrics.labels import Labels
from celery_breaker.metrics.table import Metric

__all__ = ["Counting"]


class Counting(Meter):
    """Says what is to be added to which counter; a library's own class adds it."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Add to a counter; nothing, to have it at hand from the first time on."""
        raise NotImplementedError

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Add a value to a histogram."""
        raise NotImplementedError

    def called(self, name: str, *, calls: int, failures: int, slow: int) -> None:
        """See `Meter.called`."""
        label = self._labels.counted(name)
        for metric, number in ((table.CALLS, calls), (table.FAILURES, failures), (table.SLOW, slow)):
            self.count(metric, label, by=number)

    def refused(self, name: str, retry_after: float | None) -> None:
        """See `Meter.refused`."""
        self.count(table.REFUSED, self._labels.counted(name))

    def permitted(self, name: str) -> None:
        """See `Meter.permitted`."""
        self.count(table.PERMITS, self._labels.counted(name))

    def changed(self, change: Change) -> None:
        """See `Meter.changed`."""
        label = self._labels.counted(change.name)
        for state in State:  # from the first on, all of them: what is not there yet has no rate
            self.count(table.TRANSITIONS, label, str(state), by=change.moved and change.after is state)

    def deferred(self, name: str, action: str) -> None:
        """See `Meter.deferred`."""
        self.count(table.DEFERRED, self._labels.counted(name), action)

    def released(self, name: str, count: int) -> None:
        """See `Meter.released`."""
        self.count(table.RELEASED, self._labels.counted(name), by=count)

    def store_used(self, operation: str, seconds: float, *, failed: bool) -> None:
        """See `Meter.store_used`."""
        self.observe(table.ROUND_TRIP, seconds, operation)
        self.count(table.STORE_ERRORS, operation, by=failed)

    def bus_delayed(self, seconds: float) -> None:
        """See `Meter.bus_delayed`."""
        self.observe(table.BUS_DELAY, seconds)
