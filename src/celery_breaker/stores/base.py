"""The protocol that every store implements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from celery_breaker.core.journal import Book
from celery_breaker.core.lease import Lease
from celery_breaker.core.record import Record
from celery_breaker.core.windows import Delta, Totals, Window

__all__ = ["JOURNAL_TTL", "Snapshot", "Store", "window_ttl"]

JOURNAL_TTL = 30 * 86_400.0
"""Seconds that a journal outlives its last entry."""


def window_ttl(window: Window) -> float:
    """Seconds that a window outlives its last call: an hour at the least, for count windows have no span in time.

    Example:
        >>> window_ttl(Window(60.0)), window_ttl(Window(86_400.0)), window_ttl(Window(100, by_calls=True))
        (3600.0, 172800.0, 3600.0)
    """
    return 3600.0 if window.by_calls else max(3600.0, window.span * 2)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Records as of ``now`` by the store's clock; a name that was never written has a fresh record of version 0.

    Example:
        >>> Snapshot(100.0, {"smtp": Record(name="smtp")}).records["smtp"].version
        0
    """

    now: float
    records: Mapping[str, Record]


class Store(Protocol):
    """Shared memory of a fleet. Every method is atomic, may be called from any thread, and raises `StoreError`
    (and nothing else) when the store cannot be reached or does not answer in time.

    Lua and SQL carry no thresholds and no transitions: what a total means is decided in ``core``.

    Example:
        >>> from celery_breaker.stores.url import open_store
        >>> store = open_store("memory://")
        >>> store.swap(Record(name="smtp", reason="a test"), expected=0)
        True
        >>> store.swap(Record(name="smtp", reason="who read before that"), expected=0)
        False
        >>> store.read(["smtp"]).records["smtp"].reason
        'a test'
    """

    url: str
    """Where it is, without credentials; fit for logs."""

    def read(self, names: Iterable[str]) -> Snapshot:
        """The records of these breakers and the store's time, in one round trip."""
        ...

    def tally(self, name: str, delta: Delta, window: Window, *, generation: int, worker: str) -> Totals:
        """Add to the window of this generation and return what it adds up to; commutative.

        A newer generation starts an empty window; an older one's delta is dropped. An empty delta only reads.
        """
        ...

    def swap(self, record: Record, *, expected: int) -> bool:
        """Write the record as version ``expected + 1`` if the stored version is ``expected``; whether it was."""
        ...

    def lease(self, key: str, holder: str, *, limit: int, ttl: float) -> Lease:
        """Hold one of ``limit`` places at ``key`` for ``ttl`` seconds, or hold it for longer; true if it is held."""
        ...

    def release(self, key: str, holder: str) -> None:
        """Give the place back; nothing happens if it is not held."""
        ...

    def note(self, name: str, book: Book, entries: Sequence[str]) -> None:
        """Add these texts to a book of a breaker's journal, which keeps the last `Book.keep`; atomic.

        A journal is for people to read: it may be lost, nothing depends on it, and what is old need not be kept.
        """
        ...

    def notes(self, name: str, book: Book) -> list[str]:
        """What a book holds, the latest first."""
        ...

    def names(self) -> list[str]:
        """Every breaker that has a record, in no order."""
        ...

    def forget(self, name: str) -> None:
        """Remove all that is kept of a breaker."""
        ...

    def now(self) -> float:
        """Seconds by the store's clock, on which all shared deadlines are."""
        ...

    def after_fork(self) -> None:
        """Make the copy in a forked child usable: no lock, and no connection, of the parent's."""
        ...

    def close(self) -> None:
        """Give back connections; the store may be used again, and connects anew."""
        ...
