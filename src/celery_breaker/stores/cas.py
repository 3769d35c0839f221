"""Makes a `Store` of any database that keeps values under keys, and writes one only over the one that was read."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from celery_breaker.core.counts import Counts
from celery_breaker.core.journal import Book
from celery_breaker.core.lease import Lease, leased
from celery_breaker.core.record import Record, decode, encode
from celery_breaker.core.windows import Delta, Totals, Window
from celery_breaker.errors import StoreError
from celery_breaker.stores.base import JOURNAL_TTL, Snapshot, window_ttl

__all__ = ["CasStore", "Held", "Key", "Kind", "Loaded", "Values"]

logger = logging.getLogger(__name__)

Kind = Literal["record", "window", "lease", "history", "failures"]

_FIRST_PAUSE, _LAST_PAUSE = 0.001, 0.05
"""Seconds before a write that lost against another is tried again."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Key:
    """Where a value is kept: what it is, and of which breaker or lease; its name is any text, some 250 characters.

    Example:
        >>> Key("record", "smtp").kind
        'record'
    """

    kind: Kind
    name: str

    def hashed(self, prefix: str) -> str:
        """SHA-256 of it and of what is before all keys: databases differ in what they take for the same text."""
        return hashlib.sha256(f"{prefix}\0{self.kind}\0{self.name}".encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Held:
    """A value as it was read; ``token`` marks this very write of it.

    No other write of the key ever has the same, not even after the value was removed and written anew.

    Example:
        >>> Held("a text", token=7).token
        7
    """

    text: str
    token: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """Values as of ``now`` by the database's clock, in seconds; keys without a value are left out.

    Example:
        >>> Loaded(100.0, {}).values.get(Key("record", "smtp"))
    """

    now: float
    values: Mapping[Key, Held]


class Values(Protocol):
    """What a database has to offer. Thread-safe; every method raises `StoreError`, and nothing else, when it fails.

    Example:
        How `CasStore` writes, whoever else does::

            held = values.load([key]).values.get(key)
            written = values.save(key, text, over=held, ttl=None)
    """

    url: str
    """Where it is, without credentials; fit for logs."""

    def load(self, keys: Sequence[Key]) -> Loaded:
        """These values and the time; in one round trip for a few keys."""
        ...

    def save(self, key: Key, text: str, *, over: Held | None, ttl: float | None) -> bool:
        """Write atomically if the value is still ``over`` (``None``: if there is none); whether it was.

        After ``ttl`` seconds (above 0) it may be removed, by whom and when does not matter; ``None`` keeps it.
        """
        ...

    def drop(self, keys: Sequence[Key]) -> None:
        """Remove these values, those that there are."""
        ...

    def names(self) -> list[str]:
        """Names of all keys of kind "record" that have a value."""
        ...

    def now(self) -> float:
        """Seconds by the database's clock; never goes back by more than its resolution."""
        ...

    def after_fork(self) -> None:
        """Make the copy in a forked child usable: no lock, and no connection, of the parent's."""
        ...

    def close(self) -> None:
        """Give back connections; used again, it connects anew."""
        ...


class CasStore:
    """Implements `Store` on `Values`. Thread-safe. A write that loses against another reads again and tries anew.

    Args:
        values: the database.
        patience: seconds after which a write that keeps losing is given up with a `StoreError`.
        pause, monotonic, uniform: for tests.

    Raises:
        StoreError: from every method, when the database cannot be reached or fails.

    Example:
        A store of your own; ``MyValues`` has the methods of `Values`::

            class MyStore(CasStore):
                def __init__(self, url, prefix="celery-breaker"):
                    super().__init__(MyValues(url, prefix))
    """

    def __init__(
        self,
        values: Values,
        *,
        patience: float = 5.0,
        pause: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self.url: str = values.url
        self._values = values
        self._patience = patience
        self._pause = pause
        self._monotonic = monotonic
        self._uniform = uniform
        self._unreadable: set[Key] = set()

    def read(self, names: Iterable[str]) -> Snapshot:
        """See `Store.read`. What is no record is reported with its key and stands as a fresh, closed breaker."""
        keys = {name: Key("record", name) for name in names}
        loaded = self._values.load(list(keys.values()))
        return Snapshot(loaded.now, {name: self._record(key, loaded.values.get(key)) for name, key in keys.items()})

    def swap(self, record: Record, *, expected: int) -> bool:
        """See `Store.swap`."""
        key = Key("record", record.name)
        held = self._values.load([key]).values.get(key)
        if self._record(key, held).version != expected:
            return False
        return self._values.save(key, f"{expected + 1} {encode(record)}", over=held, ttl=None)

    def tally(self, name: str, delta: Delta, window: Window, *, generation: int, worker: str) -> Totals:
        """See `Store.tally`."""
        key = Key("window", name)

        def step(held: Held | None, now: float) -> tuple[Totals, _Written | None]:
            counts = self._counts(key, held)
            totals = counts.tally(delta, window, generation=generation, worker=worker, now=now)
            changes = bool(delta.calls) and counts.generation == generation
            return totals, _Written(counts.encode(), window_ttl(window)) if changes else None

        return self._change(key, step)

    def lease(self, key: str, holder: str, *, limit: int, ttl: float) -> Lease:
        """See `Store.lease`."""
        place = Key("lease", key)

        def step(held: Held | None, now: float) -> tuple[Lease, _Written | None]:
            lease, holders = leased(self._holders(place, held), holder, limit=limit, ttl=ttl, now=now)
            return lease, _held_until(holders, now) if lease else None

        return self._change(place, step)

    def release(self, key: str, holder: str) -> None:
        """See `Store.release`."""
        place = Key("lease", key)

        def step(held: Held | None, now: float) -> tuple[None, _Written | None]:
            holders = self._holders(place, held)
            return None, _held_until(holders, now) if holders.pop(holder, None) is not None else None

        self._change(place, step)

    def note(self, name: str, book: Book, entries: Sequence[str]) -> None:
        """See `Store.note`."""
        key = _journal(book, name)

        def step(held: Held | None, now: float) -> tuple[None, _Written | None]:
            kept = [*reversed(entries), *self._entries(key, held)][: book.keep]
            return None, _Written(json.dumps(kept, separators=(",", ":")), JOURNAL_TTL)

        self._change(key, step)

    def notes(self, name: str, book: Book) -> list[str]:
        """See `Store.notes`."""
        key = _journal(book, name)
        return self._entries(key, self._values.load([key]).values.get(key))

    def names(self) -> list[str]:
        """See `Store.names`."""
        return self._values.names()

    def forget(self, name: str) -> None:
        """See `Store.forget`."""
        self._values.drop([Key("record", name), Key("window", name), *(_journal(book, name) for book in Book)])

    def now(self) -> float:
        """See `Store.now`."""
        return self._values.now()

    def after_fork(self) -> None:
        """See `Store.after_fork`."""
        self._values.after_fork()

    def close(self) -> None:
        """See `Store.close`."""
        self._values.close()

    def _change(self, key: Key, step: Callable[[Held | None, float], tuple[_T, _Written | None]]) -> _T:
        """Apply ``step`` to the value and the time until what it wants is written; ``None`` leaves it as it is."""
        give_up_at, pause = self._monotonic() + self._patience, _FIRST_PAUSE
        while True:
            loaded = self._values.load([key])
            held = loaded.values.get(key)
            answer, written = step(held, loaded.now)
            if written is None or self._values.save(key, written.text, over=held, ttl=written.ttl):
                return answer
            if self._monotonic() > give_up_at:
                raise StoreError(f"{self.url}: {key.kind} of {key.name!r} is written by too many others")
            self._pause(pause * self._uniform())
            pause = min(pause * 2, _LAST_PAUSE)

    # --- reading what may be anybody's --------------------------------------------------------------------------------

    def _record(self, key: Key, held: Held | None) -> Record:
        if held is None:
            return Record(name=key.name)
        digits, _, data = held.text.partition(" ")
        version = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 15 else 0
        try:
            record = decode(data, version=version)
        except ValueError:
            record = None
        if record is not None and record.name == key.name and version:
            self._unreadable.discard(key)
            return record
        self._complain(key)
        return Record(name=key.name, version=version)

    def _counts(self, key: Key, held: Held | None) -> Counts:
        return self._understood(key, Counts.decode, held) or Counts()

    def _holders(self, key: Key, held: Held | None) -> dict[str, float]:
        return self._understood(key, _holders_in, held) or {}

    def _entries(self, key: Key, held: Held | None) -> list[str]:
        return self._understood(key, _entries_in, held) or []

    def _understood(self, key: Key, decoder: Callable[[str], _T], held: Held | None) -> _T | None:
        if held is None:
            return None
        try:
            value = decoder(held.text)
        except ValueError:
            self._complain(key)
            return None
        self._unreadable.discard(key)
        return value

    def _complain(self, key: Key) -> None:
        if key not in self._unreadable:
            self._unreadable.add(key)
            text = "%s: the %s of %r is not ours to read; begun anew"
            logger.error(text, self.url, key.kind, key.name, extra={"breaker": key.name})


@dataclass(frozen=True, slots=True)
class _Written:
    """What is to be kept, and for how many seconds."""

    text: str
    ttl: float


def _held_until(holders: Mapping[str, float], now: float) -> _Written:
    """Who holds a place until when; kept for as long as anybody does, and a second if nobody does."""
    return _Written(json.dumps(holders, separators=(",", ":")), max([now + 1.0, *holders.values()]) - now)


def _journal(book: Book, name: str) -> Key:
    return Key("history" if book is Book.HISTORY else "failures", name)


def _entries_in(text: str) -> list[str]:
    """Read what `CasStore.note` wrote. Raises ValueError."""
    entries = json.loads(text)
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise ValueError("no journal")
    return entries


def _holders_in(text: str) -> dict[str, float]:
    """Read what `_held_until` wrote. Raises ValueError."""
    try:
        holders = {holder: float(until) for holder, until in json.loads(text).items()}
    except (TypeError, AttributeError, OverflowError, RecursionError) as exc:
        raise ValueError(f"no lease: {exc}") from None
    if not all(math.isfinite(until) for until in holders.values()):
        raise ValueError("no lease: a time is none")
    return holders
