"""The views of a process: every breaker it uses, as last seen in the store, and the ways to read and change one."""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from celery_breaker.clock import Clock, monotonic
from celery_breaker.core import machine
from celery_breaker.core.deferrals import FLOOR
from celery_breaker.core.events import Change, change_between
from celery_breaker.core.journal import Book, Entry, decode_entry, encode_entry, entry_of
from celery_breaker.core.names import check_name
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Record, State
from celery_breaker.core.tuning import tuned, tuning_words
from celery_breaker.core.windows import Delta, Totals
from celery_breaker.engine.link import Link
from celery_breaker.engine.meters import Meters
from celery_breaker.engine.news import about, isolated, log_change, log_learned
from celery_breaker.engine.view import Cell, Ticket
from celery_breaker.errors import ConfigurationError
from celery_breaker.stores.base import Store
from celery_breaker.stores.memory import MemoryStore

__all__ = ["Views"]

logger = logging.getLogger(__name__)

_IDLE = 600.0
"""Seconds without an outcome, or a look, after which a closed breaker is no longer followed."""

_SWAP_TRIES = 16
"""A swap is tried again only when somebody else's succeeded, so this many losses in a row mean trouble."""

_T = TypeVar("_T")

Listener = Callable[[Change], None]
Watcher = Callable[[Cell, Record], None]


class Views:
    """All breakers of one process that share a store, without the thread that reports (see `Registry`). Thread-safe.

    Args:
        store: where records are shared.
        policy_of: the policy of a name that nobody declared; called once per name, may raise `ConfigurationError`.
        worker: who this process is, in totals and leases.
        tended: an agent runs health checks; without one, calls probe whatever the policy says.
        clock, random: for tests.

    Attributes:
        listeners: called with each `Change` that this process won, in the thread that won it, isolated.
        watchers: called with (cell, record before) when a view changed, isolated.
        meters: whoever measures what this process does; see `Meter`.
        read_at: process clock at which records were last read; ``None`` before the first time.
    """

    def __init__(
        self,
        store: Store,
        *,
        policy_of: Callable[[str], Policy] | None = None,
        worker: str = "",
        tended: bool = False,
        clock: Clock = monotonic,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.worker: str = worker or f"{socket.gethostname()}:{os.getpid()}"
        self.tended = tended
        self.listeners: list[Listener] = []
        self.watchers: list[Watcher] = []
        self.meters: Meters = Meters()
        self.cells: dict[str, Cell] = {}
        self.clock = clock
        self.random = random
        self.read_at: float | None = None
        self._policy_of = policy_of or (lambda _name: Policy())
        self._declared: dict[str, Policy] = {}
        self._hints: set[str] = set()
        self._lock = threading.Lock()
        self._applying = threading.Lock()
        self._private: MemoryStore | None = None
        self._tidy_at = clock() + _IDLE
        self.link: Link = Link(
            store, clock=clock, views=lambda: [cell.record for cell in self._cells()], meter=self.meters
        )
        if isinstance(store, MemoryStore):
            self.link.heard(store.now())

    def _noticed(self) -> None:
        """There is a view that has not been read yet."""

    def _dropped(self, cell: Cell) -> None:
        """A view was dropped for idleness."""

    # --- memory only --------------------------------------------------------------------------------------------

    def cell(self, name: str, *, pinned: bool = False) -> Cell:
        """The view of this breaker, made at first sight, and kept for good if ``pinned``. Never waits for the store.

        Raises:
            ConfigurationError: the name cannot be a breaker's, or its policy is wrong.
        """
        cell = self.cells.get(name)
        if cell is None:
            policy, now = self._declared.get(check_name(name)) or self._usable(self._policy_of(name)), self.clock()
            with self._lock:
                cell = self.cells.get(name)
                if cell is None:
                    if now >= self._tidy_at:  # a process that only shows breakers has no thread that would do it
                        self._drop_idle(now)
                    cell = Cell(name, policy, at=now)
                    cell.ticket = Ticket(cell, generation=0, epoch=self._epoch_of(cell))
                    self.cells[name] = cell
                    self._hints.add(name)
            self._noticed()
        cell.pinned = cell.pinned or pinned
        return cell

    def declare(self, name: str, policy: Policy) -> None:
        """Give a breaker its policy.

        Raises:
            ConfigurationError: somebody gave it another one.
        """
        policy = self._usable(policy)
        cell = self.cells.get(check_name(name))
        known = cell.own if cell is not None else self._declared.setdefault(name, policy)
        if differences := policy.differences(known):
            raise ConfigurationError(
                f"breaker {name!r} is given two policies that differ in {', '.join(differences)}; give it one"
            )
        self._declared.setdefault(name, policy)

    def _usable(self, policy: Policy) -> Policy:
        """Without an agent nobody runs health checks, so calls must probe; nor does anybody release on a ramp."""
        return policy if self.tended else replace(policy, health_check=None, admit_ramp=False)

    def _cells(self) -> list[Cell]:
        with self._lock:
            return list(self.cells.values())

    def admission(self, cell: Cell) -> machine.Admission:
        """What this breaker says now, from memory."""
        return cell.admission(self.link.now())

    def retry_after(self, cell: Cell) -> float | None:
        """Seconds after which a call that was refused should try again, from memory; ``None`` if nobody can say.

        Never 0: while others hold the permits, or a health check is awaited, whoever comes at once again would spin.
        """
        seconds = machine.retry_after(cell.record, self.link.now())
        return FLOOR if seconds == 0 else seconds

    # --- round trips: bounded by the store's timeout, and never on a hot path --------------------------------------

    def refresh(self, names: Iterable[str] | None = None) -> list[Cell]:
        """Read the records of these breakers, or of all that are followed; their views, in order."""
        started = self.clock()
        cells = self._followed(started) if names is None else [self.cell(name) for name in names]
        shared = [cell for cell in cells if cell.policy.scope == "fleet"]
        snapshot, epoch = self.link.ask(lambda store: store.read([cell.name for cell in shared]))
        self.link.heard(snapshot.now)
        self.read_at = started
        for cell in shared:
            record = snapshot.records[cell.name]
            if cell.applied_at > started:
                continue
            if cell.shared is not None and _lost(record, cell.shared) and self.link.connected:
                self._restore(cell, cell.shared, expected=record.version)
            elif not cell.known or record != cell.record or cell.ticket.epoch != self._epoch_of(cell):
                self._learn(cell, record, epoch=epoch)
        for cell in cells:
            cell.known = True
        return cells

    def _followed(self, now: float) -> list[Cell]:
        """Views in use."""
        with self._lock:
            self._drop_idle(now)
            return list(self.cells.values())

    def _drop_idle(self, now: float) -> None:
        """Drop the views that are not in use, which are made again at the next use; the caller holds the lock."""
        self._tidy_at = now + _IDLE
        for cell in list(self.cells.values()):
            if now - cell.used_at > _IDLE and _plain(cell.record) and not cell.pinned:
                cell.passing = False
                del self.cells[cell.name]
                self._hints.discard(cell.name)
                for store in (self.link.shared, self._private):
                    if isinstance(store, MemoryStore):  # nobody else would ever forget it there
                        store.forget(cell.name)
                self._dropped(cell)

    def _restore(self, cell: Cell, lost: Record, *, expected: int) -> None:
        """The store was emptied: put back what it last had, or a generation would begin anew under calls in flight.

        Whoever had seen less may have been first; the higher generation wins.
        """
        logger.warning(
            "breaker %r: the store lost its record; written back as %s", cell.name, lost.state, extra=about(lost)
        )
        done, epoch = self.link.ask(lambda store: store.swap(lost, expected=expected))
        if done:
            self._apply(cell, replace(lost, version=expected + 1), epoch=epoch)
        else:
            self._hints.add(cell.name)

    def forget(self, name: str) -> None:
        """Remove a breaker from the store and from this process; it begins anew at its next use."""
        with self._lock:
            cell = self.cells.pop(name, None)
            if cell is not None:
                cell.passing = False
        if self._private is not None:
            self._private.forget(name)
        self.link.run(lambda store: store.forget(name))

    def change(self, cell: Cell, step: Callable[[Record, float], Record], *, by: str = "") -> Record:
        """Apply ``step(record, now)`` by compare-and-set and return the record as it stands then.

        ``by`` is the operator who ordered it, if one did.

        Losing reads again and tries anew, so ``step`` may run several times. The winner announces the change.
        """
        for _ in range(_SWAP_TRIES):
            if cell.ticket.epoch != self._epoch_of(cell):
                self.refresh([cell.name])  # the versions of two stores do not compare
            before, now = cell.record, self.link.now()
            after = step(before, now)
            if after is before:
                return before
            won, epoch = self._ask(cell, lambda store, b=before, a=after: store.swap(a, expected=b.version))  # type: ignore[misc]
            if won:
                after = replace(after, version=before.version + 1)
                self._apply(cell, after, epoch=epoch, written=True)
                if change := change_between(before, after, at=now):
                    self._announce(replace(change, by=by) if by else change)
                return after
            started = self.clock()
            snapshot, epoch = self._ask(cell, lambda store: store.read([cell.name]))
            if cell.applied_at <= started:  # else another thread has seen more since
                self._learn(cell, snapshot.records[cell.name], epoch=epoch)
        logger.error(
            "breaker %r: gave up a change after %d lost swaps", cell.name, _SWAP_TRIES, extra=about(cell.record)
        )
        return cell.record

    def totals(self, cell: Cell) -> Totals:
        """What the window of the present generation adds up to."""
        return self._tally(cell, cell.record.generation, Delta())

    def _tally(self, cell: Cell, generation: int, delta: Delta) -> Totals:
        totals = self._store_of(
            cell,
            lambda store: store.tally(cell.name, delta, cell.policy.window, generation=generation, worker=self.worker),
        )
        if cell.policy.scope == "fleet":
            self.link.heard(totals.now)
        return totals

    def _store_of(self, cell: Cell, operation: Callable[[Store], _T]) -> _T:
        """Run on the shared store, or on this process's own for a breaker of scope "worker"."""
        return self._ask(cell, operation)[0]

    def _ask(self, cell: Cell, operation: Callable[[Store], _T]) -> tuple[_T, int]:
        """As `_store_of`, and the epoch of the store that answered."""
        if cell.policy.scope == "worker":
            if self._private is None:
                self._private = MemoryStore(self.link.now)
            return operation(self._private), self._epoch_of(cell)
        return self.link.ask(operation)

    def current(self, cell: Cell) -> bool:
        """Whether this view is of the store that is meant to keep it, and not of what stands in for that one."""
        if cell.policy.scope == "worker":
            return True
        return self.link.connected and cell.ticket.epoch == self.link.epoch

    def _epoch_of(self, cell: Cell) -> int:
        """The epoch of the store that keeps this breaker; a breaker of scope "worker" never leaves its own."""
        return self.link.epoch if cell.policy.scope == "fleet" else 0

    def _apply(self, cell: Cell, record: Record, *, epoch: int, written: bool = False) -> None:
        """Have this record in view.

        Args:
            epoch: of the store that has it.
            written: this thread wrote it; another one may have seen what came after.
        """
        with self._applying:
            before = cell.record
            if written and cell.ticket.epoch == epoch and before.version > record.version:
                return
            if record.tuning != before.tuning:
                cell.follow(_tuned(cell, record))
            cell.apply(record, epoch=epoch, at=self.clock())
            if self.link.connected and epoch == self._epoch_of(cell):
                cell.shared = record
        if before != record:
            for watcher in self.watchers:
                isolated(watcher, cell, before)

    def _learn(self, cell: Cell, record: Record, *, epoch: int) -> None:
        """Take over what another process wrote."""
        log_learned(cell.record, record)
        self._apply(cell, record, epoch=epoch)

    def note(self, name: str, book: Book, entries: Sequence[Entry]) -> None:
        """Add to a breaker's journal."""
        texts = [encode_entry(entry) for entry in entries]
        self._store_of(self.cell(name), lambda store: store.note(name, book, texts))

    def notes(self, name: str, book: Book) -> list[Entry]:
        """A book of a breaker's journal, the latest first; what cannot be read is left out."""
        texts = self._store_of(self.cell(name), lambda store: store.notes(name, book))
        return [entry for text in texts if (entry := decode_entry(text)) is not None]

    def _announce(self, change: Change) -> None:
        log_change(change)
        self.meters.changed(change)
        for listener in self.listeners:
            isolated(listener, change)
        isolated(self.note, change.name, Book.HISTORY, [entry_of(change, by=self.worker)])


def _plain(record: Record) -> bool:
    """Closed, with no word of an operator and nothing to drain: nothing is lost if it is forgotten."""
    return record.state is State.CLOSED and record.override is None and not record.draining and not record.tuning


def _tuned(cell: Cell, record: Record) -> Policy:
    """The policy with what an operator has set; what does not fit it any more is left out, all of it."""
    try:
        return tuned(cell.own, record.tuning)
    except ConfigurationError as exc:
        logger.warning(
            "breaker %r: %s is set and does not fit its policy, which holds as the app gives it: %s",
            cell.name,
            tuning_words(record.tuning),
            exc,
            extra=about(record),
        )
        return cell.own


def _lost(stored: Record, seen: Record) -> bool:
    """Whether the store knows less than was seen there: nothing of a breaker with a history, or an older generation."""
    if seen.version == 0:
        return False
    if stored.version == 0:
        return seen.generation > 0 or seen.override is not None or bool(seen.tuning)
    return stored.generation < seen.generation
