"""The registry: every breaker of a process, its views, and the way outcomes take to the store."""

from __future__ import annotations

import atexit
import logging
import os
import random
import socket
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from celery_breaker.clock import Clock, monotonic
from celery_breaker.core import machine
from celery_breaker.core.events import Change, change_between
from celery_breaker.core.names import check_name
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Record, State
from celery_breaker.core.verdict import Verdict
from celery_breaker.core.windows import Delta, Totals
from celery_breaker.engine.background import Background
from celery_breaker.engine.link import Link
from celery_breaker.engine.view import Cell, Ticket
from celery_breaker.errors import ConfigurationError
from celery_breaker.stores.base import Store
from celery_breaker.stores.memory import MemoryStore

__all__ = ["Outcome", "Registry"]

logger = logging.getLogger(__name__)

DEFAULT_PROBE_TIMEOUT = 60.0
"""Seconds a permit is leased when neither the policy nor a time limit says."""

_IDLE = 600.0
"""Seconds without an outcome after which a closed breaker is no longer followed."""

_SWAP_TRIES = 16
"""A swap is tried again only when somebody else's succeeded, so this many losses in a row mean trouble."""

_T = TypeVar("_T")

Listener = Callable[[Change], None]
Watcher = Callable[[Cell, Record], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an admitted call ended. ``asked`` is the service's ``Retry-After``, in seconds."""

    ticket: Ticket
    verdict: Verdict
    slow: bool = False
    reason: str = ""
    asked: float | None = None


class Registry:
    """All breakers of one process that share a store. Thread-safe; survives a fork with a thread of its own.

    Args:
        store: where records are shared.
        policy_of: the policy of a name that nobody declared; called once per name, may raise `ConfigurationError`.
        worker: who this process is, in totals and leases.
        refresh: seconds between reads of the followed records.
        tended: an agent runs health checks; without one, calls probe whatever the policy says.
        clock, random: for tests.

    Attributes:
        listeners: called with each `Change` that this process won, in the thread that won it, isolated.
        watchers: called with (cell, record before) when a view changed, isolated.
    """

    def __init__(
        self,
        store: Store,
        *,
        policy_of: Callable[[str], Policy] | None = None,
        worker: str = "",
        refresh: float = 1.0,
        tended: bool = False,
        clock: Clock = monotonic,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.worker = worker or f"{socket.gethostname()}:{os.getpid()}"
        self.tended = tended
        self.listeners: list[Listener] = []
        self.watchers: list[Watcher] = []
        self.cells: dict[str, Cell] = {}
        self._policy_of = policy_of or (lambda _name: Policy())
        self._declared: dict[str, Policy] = {}
        self._refresh = refresh
        self.clock = clock
        self.random = random
        self._lock = threading.Lock()
        self._applying = threading.Lock()
        self._private: MemoryStore | None = None
        self.link = Link(store, clock=clock, views=lambda: [cell.record for cell in self._cells()])
        if isinstance(store, MemoryStore):
            self.link.heard(store.now())
        self.reporter = Background(self.work, name="celery-breaker-reporter")
        self._closing = False
        self._reset_queues()
        _registries.add(self)

    def _reset_queues(self) -> None:
        self._outcomes: deque[Outcome] = deque()
        self._asks: deque[tuple[Cell, Callable[[Ticket | None], None], float | None]] = deque()
        self._hints: set[str] = set()
        self._pending: dict[tuple[Cell, int], Delta] = {}
        self._asked: dict[str, float] = {}
        self._tickets: set[Ticket] = set()
        self._flushed_at: dict[str, float] = {}
        self._refresh_at = 0.0
        self._epoch = 0

    # --- views: memory only -------------------------------------------------------------------------------------

    def cell(self, name: str, *, pinned: bool = False) -> Cell:
        """The view of this breaker, made at first sight, and kept for good if ``pinned``. Never waits for the store.

        Raises:
            ConfigurationError: the name cannot be a breaker's, or its policy is wrong.
        """
        cell = self.cells.get(name)
        if cell is None:
            policy = self._declared.get(check_name(name)) or self._usable(self._policy_of(name))
            with self._lock:
                cell = self.cells.get(name)
                if cell is None:
                    cell = Cell(name, policy, at=self.clock())
                    cell.ticket = Ticket(cell, generation=0, epoch=self._epoch_of(cell))
                    self.cells[name] = cell
                    self._hints.add(name)
            if self.reporter.running:
                self.reporter.wake()
        cell.pinned = cell.pinned or pinned
        return cell

    def declare(self, name: str, policy: Policy) -> None:
        """Give a breaker its policy.

        Raises:
            ConfigurationError: somebody gave it another one.
        """
        policy = self._usable(policy)
        cell = self.cells.get(check_name(name))
        known = cell.policy if cell is not None else self._declared.setdefault(name, policy)
        if differences := policy.differences(known):
            raise ConfigurationError(
                f"breaker {name!r} is given two policies that differ in {', '.join(differences)}; give it one"
            )
        self._declared.setdefault(name, policy)

    def _usable(self, policy: Policy) -> Policy:
        """Without an agent nobody runs health checks, so calls must probe."""
        return policy if self.tended or policy.health_check is None else replace(policy, health_check=None)

    def _cells(self) -> list[Cell]:
        with self._lock:
            return list(self.cells.values())

    def admission(self, cell: Cell) -> machine.Admission:
        """What this breaker says now, from memory."""
        return cell.admission(self.link.now())

    def retry_after(self, cell: Cell) -> float | None:
        """Seconds until a call may be admitted, from memory; see `machine.retry_after`."""
        return machine.retry_after(cell.record, self.link.now())

    def report(self, outcome: Outcome) -> None:
        """Hand over an outcome. Never waits; failures wake the reporter at once, successes go with the next round."""
        self._outcomes.append(outcome)
        if outcome.verdict is Verdict.FAILURE or outcome.ticket.permit is not None:
            self.reporter.wake()

    def succeeded(self, ticket: Ticket) -> None:
        """Hand over a plain success. Never waits."""
        if ticket.permit is not None or ticket.cell.exact:
            self.report(Outcome(ticket, Verdict.SUCCESS))
        else:
            next(ticket.counter)

    def ask(self, cell: Cell, answer: Callable[[Ticket | None], None], *, ttl: float | None = None) -> None:
        """Have the reporter `enter`; it calls ``answer`` from its thread, with a ticket or ``None``. Never waits."""
        self._asks.append((cell, answer, ttl))
        self.reporter.wake()

    def hint(self, name: str) -> None:
        """Somebody announced a change of this breaker: read it soon. Never waits; unknown names are ignored."""
        if name in self.cells:
            self._hints.add(name)
            self.reporter.wake()

    # --- round trips: bounded by the store's timeout, and never on a hot path --------------------------------------

    def refresh(self, names: Iterable[str] | None = None) -> None:
        """Read the records of these breakers, or of all that are followed."""
        started = self.clock()
        cells = self._followed(started) if names is None else [self.cell(name) for name in names]
        shared = [cell for cell in cells if cell.policy.scope == "fleet"]
        snapshot = self.link.run(lambda store: store.read([cell.name for cell in shared]))
        self.link.heard(snapshot.now)
        for cell in shared:
            record = snapshot.records[cell.name]
            if cell.applied_at > started:
                continue
            if record.version == 0 and cell.record.version > 0 and not _plain(cell.record):
                self._restore(cell)
            elif not cell.known or record != cell.record or cell.ticket.epoch != self._epoch_of(cell):
                _log_learned(cell.record, record)
                self._apply(cell, record)
        for cell in cells:
            cell.known = True

    def _followed(self, now: float) -> list[Cell]:
        """Views in use; idle ones are dropped, and made again at the next use."""
        with self._lock:
            for cell in list(self.cells.values()):
                if now - cell.used_at > _IDLE and _plain(cell.record) and not cell.pinned:
                    cell.passing = False
                    del self.cells[cell.name]
                    self._flushed_at.pop(cell.name, None)
                    self._asked.pop(cell.name, None)
            return list(self.cells.values())

    def _restore(self, cell: Cell) -> None:
        """The store was emptied under an open or overridden breaker: put back what this process last saw."""
        logger.warning("breaker %r: the store lost its record; written back as %s", cell.name, cell.record.state)
        restored = replace(cell.record, version=1)
        if self._store_of(cell, lambda store: store.swap(cell.record, expected=0)):
            self._apply(cell, restored)
        else:
            self._hints.add(cell.name)

    def change(self, cell: Cell, step: Callable[[Record, float], Record]) -> Record:
        """Apply ``step(record, now)`` by compare-and-set and return the record as it stands then.

        Losing reads again and tries anew, so ``step`` may run several times. The winner announces the change.
        """
        for _ in range(_SWAP_TRIES):
            if cell.ticket.epoch != self._epoch_of(cell):
                self.refresh([cell.name])  # the versions of two stores do not compare
            before, now = cell.record, self.link.now()
            after = step(before, now)
            if after is before:
                return before
            if self._store_of(cell, lambda store, b=before, a=after: store.swap(a, expected=b.version)):  # type: ignore[misc]
                after = replace(after, version=before.version + 1)
                self._apply(cell, after)
                if change := change_between(before, after, at=now):
                    self._announce(change)
                return after
            snapshot = self._store_of(cell, lambda store: store.read([cell.name]))
            self._apply(cell, snapshot.records[cell.name])
        logger.error("breaker %r: gave up a change after %d lost swaps", cell.name, _SWAP_TRIES)
        return cell.record

    def win_permit(self, cell: Cell, *, ttl: float | None = None) -> Ticket | None:
        """Lease one of the permits of this half-open generation; a ticket that carries it, or ``None``."""
        generation, epoch = cell.record.generation, self._epoch_of(cell)
        holder = f"{self.worker}:{os.urandom(8).hex()}"
        key = permit_key(cell.name, generation)
        limit, seconds = cell.policy.half_open_calls, ttl or cell.policy.probe_timeout or DEFAULT_PROBE_TIMEOUT
        if self._store_of(cell, lambda store: store.lease(key, holder, limit=limit, ttl=seconds)):
            return Ticket(cell, generation=generation, epoch=epoch, permit=holder)
        return None

    def enter(self, cell: Cell, *, ttl: float | None = None) -> Ticket | None:
        """A ticket by whatever way the breaker allows now, winning a permit if that is what it takes."""
        self.reporter.start()
        if not cell.known:
            self.refresh([cell.name])
        if cell.policy.health_check is None and machine.due(cell.record, self.link.now()):
            self.refresh([cell.name])
            self.change(cell, lambda record, now: machine.half_opened(record, now=now))
        said = self.admission(cell)
        if said is machine.Admission.ADMIT:
            return cell.ticket
        return self.win_permit(cell, ttl=ttl) if said is machine.Admission.PERMIT else None

    def give_back(self, ticket: Ticket) -> None:
        """End the lease of a permit, if the ticket has one."""
        if ticket.permit is not None:
            key, holder = permit_key(ticket.cell.name, ticket.generation), ticket.permit
            self._store_of(ticket.cell, lambda store: store.release(key, holder))

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
        if cell.policy.scope == "worker":
            if self._private is None:
                self._private = MemoryStore(self.link.now)
            return operation(self._private)
        return self.link.run(operation)

    def _epoch_of(self, cell: Cell) -> int:
        """The epoch of the store that keeps this breaker; a breaker of scope "worker" never leaves its own."""
        return self.link.epoch if cell.policy.scope == "fleet" else 0

    def _apply(self, cell: Cell, record: Record) -> None:
        with self._applying:
            before, epoch = cell.record, self._epoch_of(cell)
            if 0 < record.version < before.version and cell.ticket.epoch == epoch:
                return  # read before a write that this process knows of
            cell.apply(record, epoch=epoch, at=self.clock())
        if before != record:
            for watcher in self.watchers:
                _isolated(watcher, cell, before)

    def _announce(self, change: Change) -> None:
        _log(change)
        for listener in self.listeners:
            _isolated(listener, change)

    # --- the reporter's round -----------------------------------------------------------------------------------

    def work(self) -> float:
        """One round: rejoin, outcomes, hints, permits, refresh. Returns seconds until the next is due."""
        self.link.rejoin()
        if self._epoch != self.link.epoch:
            self._epoch = self.link.epoch
            self._refresh_at = 0.0
        hints, self._hints = self._hints, set()
        if self.clock() >= self._refresh_at:
            self.refresh()
            self._refresh_at = self.clock() + self._refresh
        elif hints:
            self.refresh(hints)
        self._half_open_observed()
        self._collect()
        self._flush()
        while self._asks:
            cell, answer, ttl = self._asks.popleft()
            _isolated(answer, self._entered(cell, ttl))
        return max(0.0, self._refresh_at - self.clock())

    def _entered(self, cell: Cell, ttl: float | None) -> Ticket | None:
        try:
            return self.enter(cell, ttl=ttl)
        except Exception:
            logger.exception("breaker %r: asking for a permit failed", cell.name)
            return None

    def _half_open_observed(self) -> None:
        """Breakers that admit everything, and so are never entered, go on as if they did not."""
        for cell in self._cells():
            if cell.passing and machine.due(cell.record, self.link.now()):
                self.change(cell, lambda record, now: machine.half_opened(record, now=now))

    def _collect(self) -> None:
        """Move what was handed over into pending deltas, and settle probes."""
        while self._outcomes:
            outcome = self._outcomes.popleft()
            ticket, cell = outcome.ticket, outcome.ticket.cell
            cell.used_at = self.clock()
            if ticket.generation > cell.record.generation:
                self.refresh([cell.name])  # admitted by another process, which saw more
            if outcome.verdict is not Verdict.NEUTRAL:
                failed = outcome.verdict is Verdict.FAILURE
                if self._half_open(ticket):
                    self._settle_probe(outcome, failed=failed)
                else:
                    self._add(ticket, Delta().then(failed=failed, slow=outcome.slow))
                    if failed and outcome.asked:
                        self._asked[cell.name] = outcome.asked
            if ticket.permit is not None:
                self.give_back(ticket)
        for cell in self._cells():
            self._tickets.add(cell.ticket)
        for ticket in list(self._tickets):
            if successes := ticket.take_successes():
                ticket.cell.used_at = self.clock()
                if self._half_open(ticket):
                    self._probe_succeeded(ticket, successes)
                else:
                    self._add(ticket, Delta(calls=successes, unbroken=False))
            if ticket is not ticket.cell.ticket or self.cells.get(ticket.cell.name) is not ticket.cell:
                self._tickets.discard(ticket)

    def _add(self, ticket: Ticket, more: Delta) -> None:
        if ticket.epoch != self._epoch_of(ticket.cell) or ticket.generation != ticket.cell.record.generation:
            return  # of another store's generations, or too late to count in this one's window
        key = (ticket.cell, ticket.generation)
        known = self._pending.get(key, Delta())
        self._pending[key] = Delta(
            calls=known.calls + more.calls,
            failures=known.failures + more.failures,
            slow=known.slow + more.slow,
            streak=known.streak + more.streak if more.unbroken else more.streak,
            unbroken=known.unbroken and more.unbroken,
        )

    def _half_open(self, ticket: Ticket) -> bool:
        record = ticket.cell.record
        return (
            record.state is State.HALF_OPEN
            and ticket.generation == record.generation
            and ticket.epoch == ticket.cell.ticket.epoch
        )

    def _settle_probe(self, outcome: Outcome, *, failed: bool) -> None:
        ticket, cell = outcome.ticket, outcome.ticket.cell
        if not failed:
            self._probe_succeeded(ticket, 1)
            return
        u = self.random()
        self.change(
            cell,
            lambda record, now: machine.probe_failed(
                record,
                cell.policy,
                generation=ticket.generation,
                now=now,
                u=u,
                reason=f"probe failed: {outcome.reason}" if outcome.reason else "probe failed",
                asked=outcome.asked,
            ),
        )

    def _probe_succeeded(self, ticket: Ticket, count: int) -> None:
        self.change(
            ticket.cell,
            lambda record, now: machine.probe_succeeded(
                record, ticket.cell.policy, generation=ticket.generation, now=now, count=count
            ),
        )

    def _flush(self) -> None:
        """Send deltas: with a failure at once, else when a bucket's time has passed."""
        now = self.clock()
        for key, delta in list(self._pending.items()):
            cell, generation = key
            window = cell.policy.window
            pause = self._refresh if window.by_calls else min(max(window.width, self._refresh), 5.0)
            waits = not (delta.failures or delta.slow or self._closing)
            if waits and now - self._flushed_at.get(cell.name, 0.0) < pause:
                continue
            del self._pending[key]
            self._flushed_at[cell.name] = now
            totals = self._tally(cell, generation, delta)
            if generation == cell.record.generation and (delta.failures or delta.slow):
                self._maybe_trip(cell, totals)

    def _maybe_trip(self, cell: Cell, totals: Totals) -> None:
        generation, u, asked = cell.record.generation, self.random(), self._asked.pop(cell.name, None)

        def trip(record: Record, now: float) -> Record:
            if record.generation != generation:
                return record
            return machine.tripped(record, totals, cell.policy, now=now, u=u, asked=asked)

        self.change(cell, trip)

    # --- life ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Report what is left, stop the thread, and drop the views, so that no `Breaker` goes on using them."""
        self._closing = True
        self.reporter.stop()
        with self._lock:
            for cell in self.cells.values():
                cell.passing = False
            self.cells.clear()

    def after_fork(self) -> None:
        """Start anew in a forked child: same views, empty queues, no thread until it is needed."""
        self._lock = threading.Lock()
        self._applying = threading.Lock()
        self._reset_queues()
        self.link.after_fork()
        if self._private is not None:
            self._private.after_fork()
        self.reporter = Background(self.work, name="celery-breaker-reporter")
        for cell in self.cells.values():
            cell.ticket = Ticket(cell, generation=cell.record.generation, epoch=self._epoch_of(cell))
            cell.passing = cell.known = False  # the first use reads the store, and starts the thread


def permit_key(name: str, generation: int) -> str:
    """The lease under which a generation's permits are held."""
    return f"{name}:{generation}:permit"


def _plain(record: Record) -> bool:
    """Closed, not overridden and with nothing to drain: nothing is lost if it is forgotten."""
    return record.state is State.CLOSED and record.override is None and not record.draining


def _isolated(function: Callable[..., object], *args: object) -> None:
    try:
        function(*args)
    except Exception:
        logger.exception("%r failed; the breaker goes on", function)


def _log(change: Change) -> None:
    extra = {"breaker": change.name, "generation": change.generation, "state": str(change.after)}
    if change.moved and change.after is State.OPEN:
        level = logging.ERROR if change.trips > 2 else logging.WARNING
        wait = change.until - change.at
        logger.log(level, "breaker %r opened for %.1f s: %s", change.name, wait, change.reason, extra=extra)
    elif change.moved:
        logger.info(
            "breaker %r is %s (was %s): %s", change.name, change.after, change.before, change.reason, extra=extra
        )
    if change.overridden:
        who = f" by {change.by}" if change.by else ""
        logger.warning("breaker %r is now %s%s: %s", change.name, change.mode_after, who, change.reason, extra=extra)


def _log_learned(before: Record, after: Record) -> None:
    if before.generation != after.generation or before.mode is not after.mode:
        mode = "" if after.override is None else f", {after.mode}"
        logger.info("breaker %r is %s%s, says the store", after.name, after.state, mode)


_registries: weakref.WeakSet[Registry] = weakref.WeakSet()


def _after_fork() -> None:
    for registry in list(_registries):
        registry.after_fork()


@atexit.register
def _at_exit() -> None:
    for registry in list(_registries):
        if registry.reporter.running:
            registry.close()


os.register_at_fork(after_in_child=_after_fork)
