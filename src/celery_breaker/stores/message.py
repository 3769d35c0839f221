"""A store that keeps no database: every process counts for itself, and tells its peers what became of its breakers.

Transitions, operators' words and claims to leases travel as messages; how, is the peers' business (see `Peers`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from celery_breaker.clock import Clock
from celery_breaker.core.claims import Claim, free_in, present, stands
from celery_breaker.core.counts import Counts
from celery_breaker.core.journal import Book
from celery_breaker.core.lease import Lease
from celery_breaker.core.merge import Mark, Said, merge, news, written
from celery_breaker.core.record import Record
from celery_breaker.core.windows import Delta, Totals, Window
from celery_breaker.stores.base import JOURNAL_TTL, Snapshot, window_ttl

__all__ = ["Alone", "MessageStore", "Note", "Peers"]

SETTLE = 0.08
"""Seconds for which a claim waits for an earlier one that is still under way."""

_LONGEST_LEASE = 86_400.0

_BOOKS_TTL = {Book.HISTORY: JOURNAL_TTL, Book.FAILURES: 86_400.0}
"""Seconds that each book outlives its last entry: failures are of breakers that no agent may ever forget, for they have
no record, and every process keeps all of them in memory."""

_SWEEP = 60.0
"""Seconds between two looks for windows, books and claims that are over."""

Note = Mapping[str, object]
"""What is told to the peers; JSON values."""


class Peers(Protocol):
    """The other processes of the fleet, as a `MessageStore` needs them. Thread-safe."""

    alone: bool
    """Nobody can be reached, ever; there is no use in waiting for anyone."""

    def reach(self) -> None:
        """Called before every operation: ask the peers what they know, if this process has not. Raises `StoreError`."""
        ...

    def tell(self, note: Note) -> None:
        """Send to all peers. Never waits."""
        ...

    def sent(self) -> None:
        """Called after a write: wait until it is told, if this process may end any moment. Raises `StoreError`."""
        ...

    def after_fork(self) -> None:
        """In a forked child: a peer of its own, which has asked nobody yet."""
        ...

    def close(self) -> None:
        """Leave."""
        ...


class Alone:
    """Implements `Peers` for who has none."""

    alone = True

    def reach(self) -> None:
        """See `Peers.reach`."""

    def tell(self, note: Note) -> None:
        """See `Peers.tell`."""

    def sent(self) -> None:
        """See `Peers.sent`."""

    def after_fork(self) -> None:
        """See `Peers.after_fork`."""

    def close(self) -> None:
        """See `Peers.close`."""


@dataclass(frozen=True, slots=True)
class _Known:
    said: Said
    version: int


class MessageStore:
    """Implements `Store`, as far as it can be had without a database. Thread-safe.

    - Writes are atomic within this process. Two processes that write at once both win; both, and everyone, end up with
      the same record: of states the higher generation, of operators' words the later.
    - Versions are this process's own: they grow with each write of its own and each that it hears of.
    - Totals are those of this process alone, so ``max_failures`` is for each, and ``min_workers`` above 1 is never met.
    - A lease is claimed, and held if within a moment (``settle``) nobody turns out to have claimed before. Processes
      that cannot hear each other in that moment both hold it: one call too many each, at the most.
    - ``now`` is this machine's wall clock: a clock that is 2 s behind has its breakers probed 2 s late by itself, and
      those that it opens 2 s early by the others.
    - A journal is what this process has noted, and heard others note, since it began; failures are kept for a day.
    - What is forgotten is forgotten by all who hear of it and have not called it for an hour; others bring it back.

    Args:
        clock: wall time in seconds.
        settle: seconds; longer than messages take to reach everyone.
        pause: for tests.

    Example:
        >>> MessageStore().swap(Record(name="smtp"), expected=0)
        True
    """

    url = "message://"

    def __init__(
        self, *, clock: Clock = time.time, settle: float = SETTLE, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock = clock
        self._settle = settle
        self._pause = pause
        self._peers: Peers = Alone()
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._counts: dict[str, tuple[Counts, float]] = {}  # and until when they are worth keeping
        self._sweep_at = 0.0
        self._claims: dict[str, dict[str, Claim]] = {}
        self._books: dict[tuple[str, Book], tuple[deque[str], float]] = {}  # and until when they are worth keeping

    def connect(self, peers: Peers) -> None:
        """Have these peers from now on."""
        self._peers = peers

    # --- the protocol -------------------------------------------------------------------------------------------------

    def read(self, names: Iterable[str]) -> Snapshot:
        """See `Store.read`."""
        self._peers.reach()
        with self._lock:
            return Snapshot(self._clock(), {name: self._record(name) for name in names})

    def tally(self, name: str, delta: Delta, window: Window, *, generation: int, worker: str) -> Totals:
        """See `Store.tally`; this process's calls alone."""
        self._peers.reach()
        now = self._clock()
        with self._lock:
            self._sweep(now)
            counts, _ = self._counts.get(name) or (Counts(), 0.0)
            totals = counts.tally(delta, window, generation=generation, worker=worker, now=now)
            if delta.calls:
                self._counts[name] = counts, now + window_ttl(window)
            return totals

    def swap(self, record: Record, *, expected: int) -> bool:
        """See `Store.swap`; atomic in this process."""
        self._peers.reach()
        with self._lock:
            known = self._known.get(record.name)
            if (known.version if known else 0) != expected:
                return False
            said = written(known.said if known else None, record, now=self._clock())
            self._known[record.name] = _Known(said, expected + 1)
        self._peers.tell({"said": [said.encode()]})
        self._peers.sent()
        return True

    def lease(self, key: str, holder: str, *, limit: int, ttl: float) -> Lease:
        """See `Store.lease`. A new claim waits for a moment; not for use where nothing may wait."""
        self._peers.reach()
        now = self._clock()
        with self._lock:
            self._sweep(now)
            claims = self._claims[key] = present(self._claims.get(key, {}), now)
            before = claims.get(holder)
            if before is None and len(claims) >= limit:
                return free_in(claims, limit=limit, now=now)
            at = before.at if before is not None else now
            claims[holder] = Claim(at, now + ttl, own=True, told=now)
        self._claim(key, holder, at, ttl)
        if before is None and not self._peers.alone:
            self._pause(self._settle)
        return self._if_it_stands(key, holder, limit=limit)

    def release(self, key: str, holder: str) -> None:
        """See `Store.release`."""
        self._peers.reach()
        self._drop(key, holder)
        self._peers.tell({"free": [key, holder]})

    def note(self, name: str, book: Book, entries: Sequence[str]) -> None:
        """See `Store.note`."""
        self._peers.reach()
        self.noted(name, book, entries)
        self._peers.tell({"noted": [name, str(book), *entries]})

    def notes(self, name: str, book: Book) -> list[str]:
        """See `Store.notes`."""
        self._peers.reach()
        with self._lock:
            entries, _ = self._books.get((name, book), ((), 0.0))
            return list(entries)

    def names(self) -> list[str]:
        """See `Store.names`."""
        self._peers.reach()
        with self._lock:
            return list(self._known)

    def forget(self, name: str) -> None:
        """See `Store.forget`."""
        self._peers.reach()
        with self._lock:
            known = self._known.pop(name, None)
            self._counts.pop(name, None)
            self._close_books(name)
        if known is not None:
            self._peers.tell({"gone": [name, known.said.mark]})
            self._peers.sent()

    def now(self) -> float:
        """See `Store.now`."""
        self._peers.reach()
        return self._clock()

    def after_fork(self) -> None:
        """See `Store.after_fork`."""
        self._lock = threading.Lock()
        self._claims = {key: _others(claims) for key, claims in self._claims.items()}
        self._peers.after_fork()

    def close(self) -> None:
        """See `Store.close`."""
        self._peers.close()

    def _record(self, name: str) -> Record:
        known = self._known.get(name)
        return replace(known.said.record, version=known.version) if known else Record(name=name)

    # --- what is told by others ---------------------------------------------------------------------------------------

    def marks(self) -> dict[str, Mark]:
        """The worth of what is known here, by name."""
        with self._lock:
            return {name: known.said.mark for name, known in self._known.items()}

    def mark(self, name: str) -> Mark | None:
        """The worth of what is known here of one breaker."""
        with self._lock:
            known = self._known.get(name)
            return known.said.mark if known else None

    def said(self, names: Iterable[str]) -> list[Said]:
        """What is known here of these breakers; of some it may be nothing."""
        with self._lock:
            return [self._known[name].said for name in names if name in self._known]

    def learn(self, said: Said) -> bool:
        """Put together with what is known here; whether that has changed it."""
        name = said.record.name
        with self._lock:
            known = self._known.get(name)
            merged = merge(known.said, said) if known else said
            if known is not None and merged == known.said:
                return False
            self._known[name] = _Known(merged, known.version + 1 if known else 1)
            return True

    def unlearn(self, name: str, mark: Mark) -> bool:
        """A peer forgot this breaker, of which it knew so much; whether it is forgotten here too, or else in use."""
        with self._lock:
            known = self._known.get(name)
            if known is None or news(known.said.mark, mark) or name in self._counts:
                return False
            del self._known[name]
            self._close_books(name)
            return True

    def noted(self, name: str, book: Book, entries: Sequence[str]) -> None:
        """Entries for a journal, a peer's or this process's own."""
        now = self._clock()
        with self._lock:
            self._sweep(now)
            kept, _ = self._books.get((name, book)) or (deque[str](maxlen=book.keep), 0.0)
            kept.extendleft(entries)
            self._books[name, book] = kept, now + _BOOKS_TTL[book]

    def _close_books(self, name: str) -> None:
        for book in Book:
            self._books.pop((name, book), None)

    def claimed(self, key: str, holder: str, *, at: float, ttl: float) -> None:
        """A peer claims a place; who holds it already says so."""
        now = self._clock()
        with self._lock:
            self._sweep(now)
            claims = self._claims[key] = present(self._claims.get(key, {}), now)
            if (mine := claims.get(holder)) is not None and mine.own:
                return
            claims[holder] = Claim(at, now + min(ttl, _LONGEST_LEASE))
            # Those of the same moment have been told already, and are under way.
            held = [
                (own, claim) for own, claim in claims.items()
                if claim.own and (claim.at, own) < (at, holder) and now - claim.told > self._settle
            ]  # fmt: skip
            for own, claim in held:
                claims[own] = replace(claim, told=now)
        for own, claim in held:
            self._claim(key, own, claim.at, claim.until - now)

    def freed(self, key: str, holder: str) -> None:
        """A place was given back."""
        self._drop(key, holder)

    def claims(self) -> list[Note]:
        """What this process holds, as it is told."""
        now = self._clock()
        with self._lock:
            return [
                {"claim": [key, holder, claim.at, claim.until - now]}
                for key, claims in self._claims.items()
                for holder, claim in present(claims, now).items()
                if claim.own
            ]

    def _claim(self, key: str, holder: str, at: float, ttl: float) -> None:
        self._peers.tell({"claim": [key, holder, at, ttl]})

    def _if_it_stands(self, key: str, holder: str, *, limit: int) -> Lease:
        now = self._clock()
        with self._lock:
            claims = self._claims[key] = present(self._claims.get(key, {}), now)
            if holder in claims and stands(claims, holder, limit=limit):
                return Lease(True)
            claims.pop(holder, None)
            answer = free_in(claims, limit=limit, now=now) if claims else Lease(False)
        self._peers.tell({"free": [key, holder]})
        return answer

    def _drop(self, key: str, holder: str) -> None:
        with self._lock:
            claims = self._claims.get(key, {})
            claims.pop(holder, None)
            if not claims:
                self._claims.pop(key, None)

    def _sweep(self, now: float) -> None:
        """Generations pass, and with them the keys of their permits; breakers are no longer called."""
        if now < self._sweep_at:
            return
        self._sweep_at = now + _SWEEP
        kept = {key: present(claims, now) for key, claims in self._claims.items()}
        self._claims = {key: claims for key, claims in kept.items() if claims}
        self._counts = {name: counts for name, counts in self._counts.items() if counts[1] > now}
        self._books = {key: book for key, book in self._books.items() if book[1] > now}


def _others(claims: dict[str, Claim]) -> dict[str, Claim]:
    """The parent's claims, as its child sees them."""
    return {holder: replace(claim, own=False) for holder, claim in claims.items()}
