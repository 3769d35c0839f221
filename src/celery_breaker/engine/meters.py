"""The port for whoever measures: what a process does with its breakers, told from the threads that do it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from celery_breaker.core.events import Change

__all__ = ["Meter", "Meters"]

logger = logging.getLogger(__name__)


class Meter:
    """Hears what this process does. Each method does nothing: override those that you want.

    They are called from several threads, and must neither wait nor call the breaker. What they raise is logged once
    per kind of error and goes no further. A call that a closed breaker admits reaches no meter: its outcome does, later
    and together with others, from the reporter's thread.

    Attributes:
        survives_fork: holds no lock, so that a forked child may go on using it; others are dropped there.

    Example:
        >>> class Refusals(Meter):
        ...     count = 0
        ...
        ...     def refused(self, name: str, retry_after: float | None) -> None:
        ...         self.count += 1
    """

    survives_fork = False

    def called(self, name: str, *, calls: int, failures: int, slow: int) -> None:
        """So many admitted calls ended since the last time; of them, so many failed or were slow."""

    def refused(self, name: str, retry_after: float | None) -> None:
        """A `Breaker` in this process's code raised `BreakerOpen`; in the caller's thread."""

    def permitted(self, name: str) -> None:
        """This process won a half-open permit."""

    def changed(self, change: Change) -> None:
        """This process won a change; in the thread that did."""

    def deferred(self, name: str, action: str) -> None:
        """A task was not admitted, and was parked, sent again, failed or given its fallback."""

    def released(self, name: str, count: int) -> None:
        """So many parked tasks went back to their queues."""

    def tended(self) -> None:
        """This process's agent finished a round."""

    def store_used(self, operation: str, seconds: float, *, failed: bool) -> None:
        """An operation on the shared store ended, after so many seconds."""

    def bus_delayed(self, seconds: float) -> None:
        """An announcement arrived, so many seconds after it was sent."""


class Meters(Meter):
    """Passes everything on to any number of meters, none to begin with. Thread-safe.

    Example:
        >>> meters = Meters()
        >>> bool(meters)
        False
    """

    survives_fork = True

    def __init__(self) -> None:
        self._meters: tuple[Meter, ...] = ()
        self._complaints: dict[int, str] = {}

    def __bool__(self) -> bool:
        return bool(self._meters)

    def add(self, meter: Meter) -> None:
        """Have this one hear everything too."""
        self._meters = (*self._meters, meter)

    def remove(self, meter: Meter) -> None:
        """Tell this one nothing more."""
        self._meters = tuple(one for one in self._meters if one is not meter)
        self._complaints.pop(id(meter), None)

    def after_fork(self) -> None:
        """In a forked child: without those whose locks a thread of the parent may have held."""
        self._meters = tuple(one for one in self._meters if one.survives_fork)

    def called(self, name: str, *, calls: int, failures: int, slow: int) -> None:
        """See `Meter.called`."""
        self._tell(lambda meter: meter.called(name, calls=calls, failures=failures, slow=slow))

    def refused(self, name: str, retry_after: float | None) -> None:
        """See `Meter.refused`."""
        self._tell(lambda meter: meter.refused(name, retry_after))

    def permitted(self, name: str) -> None:
        """See `Meter.permitted`."""
        self._tell(lambda meter: meter.permitted(name))

    def changed(self, change: Change) -> None:
        """See `Meter.changed`."""
        self._tell(lambda meter: meter.changed(change))

    def deferred(self, name: str, action: str) -> None:
        """See `Meter.deferred`."""
        self._tell(lambda meter: meter.deferred(name, action))

    def released(self, name: str, count: int) -> None:
        """See `Meter.released`."""
        self._tell(lambda meter: meter.released(name, count))

    def tended(self) -> None:
        """See `Meter.tended`."""
        self._tell(lambda meter: meter.tended())

    def store_used(self, operation: str, seconds: float, *, failed: bool) -> None:
        """See `Meter.store_used`."""
        self._tell(lambda meter: meter.store_used(operation, seconds, failed=failed))

    def bus_delayed(self, seconds: float) -> None:
        """See `Meter.bus_delayed`."""
        self._tell(lambda meter: meter.bus_delayed(seconds))

    def _tell(self, what: Callable[[Meter], None]) -> None:
        for meter in self._meters:
            try:
                what(meter)
            except Exception as exc:
                if self._complaints.get(id(meter)) != (complaint := repr(exc)):
                    logger.exception("%r failed; the breaker goes on without its figures", meter)
                    self._complaints[id(meter)] = complaint
