"""The store protocol, as a class of a user's own implements it: by its methods, not by inheritance."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Iterable, Sequence

from typing_extensions import assert_type

from celery_breaker import Breaker
from celery_breaker.core.journal import Book
from celery_breaker.core.lease import Lease
from celery_breaker.core.record import Record
from celery_breaker.core.windows import Delta, Totals, Window
from celery_breaker.stores.base import Snapshot, Store
from celery_breaker.stores.memory import MemoryStore


class Mine:
    """Hands all on to another."""

    url = "mine://"

    def __init__(self) -> None:
        self._kept = MemoryStore()

    def read(self, names: Iterable[str]) -> Snapshot:
        """See `Store.read`; and so on."""
        return self._kept.read(names)

    def tally(self, name: str, delta: Delta, window: Window, *, generation: int, worker: str) -> Totals:
        """Adds."""
        return self._kept.tally(name, delta, window, generation=generation, worker=worker)

    def swap(self, record: Record, *, expected: int) -> bool:
        """Writes."""
        return self._kept.swap(record, expected=expected)

    def lease(self, key: str, holder: str, *, limit: int, ttl: float) -> Lease:
        """Holds."""
        return self._kept.lease(key, holder, limit=limit, ttl=ttl)

    def release(self, key: str, holder: str) -> None:
        """Lets go."""
        self._kept.release(key, holder)

    def note(self, name: str, book: Book, entries: Sequence[str]) -> None:
        """Journals."""
        self._kept.note(name, book, entries)

    def notes(self, name: str, book: Book) -> list[str]:
        """Reads journals."""
        return self._kept.notes(name, book)

    def names(self) -> list[str]:
        """Lists."""
        return self._kept.names()

    def forget(self, name: str) -> None:
        """Removes."""
        self._kept.forget(name)

    def now(self) -> float:
        """Tells the time."""
        return self._kept.now()

    def after_fork(self) -> None:
        """Is used by a child."""
        self._kept.after_fork()

    def close(self) -> None:
        """Ends."""
        self._kept.close()


class Half:
    """Lacks most of it."""

    url = "half://"

    def now(self) -> float:
        """Tells the time."""
        return 0.0


def uses() -> None:
    """Any of them serves."""
    store: Store = Mine()
    assert_type(store.read(["smtp"]), Snapshot)
    assert_type(store.read(["smtp"]).records["smtp"], Record)
    Breaker("smtp", store=Mine())
    Breaker("smtp", store="redis://localhost")


def mistakes() -> None:
    """What a type checker must not let pass."""
    Breaker("smtp", store=Half())  # type: ignore[arg-type]
    MemoryStore().tally("smtp", Delta(), 60)  # type: ignore[call-arg, arg-type]
