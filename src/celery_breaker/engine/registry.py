"""The registry: the views of a process, and the way that outcomes take to the store."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery_breaker.core import machine
from celery_breaker.core.journal import Book, Entry, Event
from celery_breaker.core.record import Mode, Record, State
from celery_breaker.core.verdict import Verdict
from celery_breaker.core.windows import Delta, Totals
from celery_breaker.engine.background import Background
from celery_breaker.engine.leases import Leases
from celery_breaker.engine.news import isolated
from celery_breaker.engine.places import Places
from celery_breaker.engine.recent import RecentFailures
from celery_breaker.engine.view import Cell, Ticket
from celery_breaker.stores.base import Store

__all__ = ["Outcome", "Registry"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an admitted call ended.

    Attributes:
        asked: the service's ``Retry-After``, in seconds.
        failed: the call itself failed; one that was merely slow may be a failure too, but its work is done.
        task, task_id: what called, if it was a task.
    """

    ticket: Ticket
    verdict: Verdict
    slow: bool = False
    reason: str = ""
    asked: float | None = None
    failed: bool = False
    task: str = ""
    task_id: str = ""


class Registry(Leases):
    """Views that are kept fresh, and outcomes that are reported, by a thread. Survives a fork with a thread of its own.

    Args:
        store: where records are shared.
        refresh: seconds between reads of the followed records.
        options: the rest is `Views`'s.
    """

    def __init__(self, store: Store, *, refresh: float = 1.0, **options: Any) -> None:
        super().__init__(store, **options)
        self._refresh = refresh
        self.reporter: Background = Background(self.work, name="celery-breaker-reporter")
        self._closing = False
        self._reset_queues()
        _registries.add(self)

    def _reset_queues(self) -> None:
        self._outcomes: deque[Outcome] = deque()
        self._asks: deque[Callable[[], None]] = deque()
        self._hints = set()
        self._pending: dict[tuple[Cell, int], Delta] = {}
        self._asked: dict[str, float] = {}
        self._tickets: set[Ticket] = set()
        self._flushed_at: dict[str, float] = {}
        self._recent = RecentFailures()
        self._counted: dict[str, Delta] = {}
        self._refresh_at = 0.0
        self._epoch = 0

    def _noticed(self) -> None:
        if self.reporter.running:
            self.reporter.wake()

    def _dropped(self, cell: Cell) -> None:
        self._flushed_at.pop(cell.name, None)
        self._asked.pop(cell.name, None)
        self._recent.forget(cell.name)

    # --- handing over: memory only --------------------------------------------------------------------------------

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

    def unused(self, ticket: Ticket) -> None:
        """Hand over that no call was made on this ticket: its permit, if it has one, is free again. Never waits."""
        if ticket.permit is not None:
            self.report(Outcome(ticket, Verdict.NEUTRAL))

    def ask(self, cell: Cell, answer: Callable[[Ticket | None], None], *, ttl: float | None = None) -> None:
        """Have the reporter `enter`; it calls ``answer`` from its thread, with a ticket or ``None``. Never waits."""
        self._asks.append(lambda: answer(self._entered(cell, ttl)))
        self.reporter.wake()

    def ask_retry(self, cell: Cell, answer: Callable[[float | None], None]) -> None:
        """Have the reporter ask `retry_wait`; it calls ``answer`` from its thread. Never waits."""
        self._asks.append(lambda: answer(self.retry_wait(cell)))
        self.reporter.wake()

    def hint(self, name: str) -> None:
        """Somebody announced a change of this breaker: read it soon. Never waits; unknown names are ignored."""
        if name in self.cells:
            self._hints.add(name)
            self.reporter.wake()

    def enter(self, cell: Cell, *, ttl: float | None = None) -> Ticket | None:
        """See `Leases.enter`; from the first use on, the thread keeps the view fresh."""
        self.reporter.start()
        return super().enter(cell, ttl=ttl)

    # --- the reporter's round -----------------------------------------------------------------------------------

    def work(self) -> float:
        """One round: rejoin, outcomes, hints, permits, refresh. Returns seconds until the next is due."""
        self.link.rejoin()
        if self._epoch != self.link.epoch:
            self._epoch = self.link.epoch
            self._refresh_at = 0.0
        hints = []
        while self._hints:  # other threads add to it meanwhile
            hints.append(self._hints.pop())
        if self.clock() >= self._refresh_at:
            self.refresh()
            self._refresh_at = self.clock() + self._refresh
        elif hints:
            self.refresh(hints)
        self._half_open_observed()
        self._collect()
        self._flush()
        for name, failures in self._recent.due(self.clock(), all_of_them=self._closing):
            isolated(self.note, name, Book.FAILURES, failures)
        while self._asks:
            isolated(self._asks.popleft())
        return max(0.0, min(self._refresh_at - self.clock(), self.link.retry_in()))

    def _entered(self, cell: Cell, ttl: float | None) -> Ticket | None:
        try:
            return self.enter(cell, ttl=ttl)
        except Exception:
            logger.exception("breaker %r: asking for a permit failed", cell.name, extra={"breaker": cell.name})
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
                self._count(outcome, failed=outcome.verdict is Verdict.FAILURE)
            if ticket.permit is not None:
                self.give_back(ticket)
        self._collect_successes()
        counted, self._counted = self._counted, {}
        for name, delta in counted.items():
            self.meters.called(name, calls=delta.calls, failures=delta.failures, slow=delta.slow)

    def _count(self, outcome: Outcome, *, failed: bool) -> None:
        ticket, cell = outcome.ticket, outcome.ticket.cell
        if failed:
            self._recent.add(cell.name, self._failure(outcome))
        delta = Delta().then(failed=failed, slow=outcome.slow)
        self._measure(cell, delta)
        if self._half_open(ticket):
            self._settle_probe(outcome, failed=failed)
            return
        self._add(ticket, delta)
        if failed and outcome.asked:
            self._asked[cell.name] = outcome.asked

    def _collect_successes(self) -> None:
        """Plain successes, which tickets have counted."""
        for cell in self._cells():
            self._tickets.add(cell.ticket)
        for ticket in list(self._tickets):
            if successes := ticket.take_successes():
                ticket.cell.used_at = self.clock()
                self._measure(ticket.cell, Delta(calls=successes))
                if self._half_open(ticket):
                    self._probe_succeeded(ticket, successes)
                else:
                    self._add(ticket, Delta(calls=successes, unbroken=False))
            if ticket is not ticket.cell.ticket or self.cells.get(ticket.cell.name) is not ticket.cell:
                self._tickets.discard(ticket)

    def _measure(self, cell: Cell, more: Delta) -> None:
        """For the meters, which are told once a round; also what is too late, or too odd, for the window."""
        if self.meters:
            self._counted[cell.name] = self._counted.get(cell.name, Delta()).plus(more)

    def _failure(self, outcome: Outcome) -> Entry:
        return Entry(
            at=self.link.now(),
            event=Event.FAILURE,
            what=outcome.reason,
            generation=outcome.ticket.generation,
            by=self.worker,
            task=outcome.task,
            task_id=outcome.task_id,
        )

    def _add(self, ticket: Ticket, more: Delta) -> None:
        if ticket.epoch != self._epoch_of(ticket.cell) or ticket.generation != ticket.cell.record.generation:
            return  # of another store's generations, or too late to count in this one's window
        if machine.mode_at(ticket.cell.record, self.link.now()) is Mode.DISABLED:
            return  # whoever disabled it knows of these failures
        key = (ticket.cell, ticket.generation)
        self._pending[key] = self._pending.get(key, Delta()).plus(more)

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
            pause = cell.policy.window.pause(self._refresh)
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
        self.meters.after_fork()
        if self._private is not None:
            self._private.after_fork()
        self.reporter = Background(self.work, name="celery-breaker-reporter")
        for cell in self.cells.values():
            cell.ticket = Ticket(cell, generation=cell.record.generation, epoch=self._epoch_of(cell))
            cell.places = Places()  # those there were are the parent's
            cell.passing = cell.known = False  # the first use reads the store, and starts the thread


_registries: weakref.WeakSet[Registry] = weakref.WeakSet()


def _after_fork() -> None:
    for registry in list(_registries):
        isolated(registry.after_fork)


@atexit.register
def close_all() -> None:
    """Report what is left of every registry whose thread runs; for the end of a process, also one without `atexit`."""
    for registry in list(_registries):
        if registry.reporter.running:
            registry.close()


os.register_at_fork(after_in_child=_after_fork)
