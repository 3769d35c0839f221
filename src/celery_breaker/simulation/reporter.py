"""How outcomes get from workers to the store, and permits from the store to workers.

Successes wait for a round and are sent together, at most once per bucket; failures and the ends of probes are sent at
once. A worker sends one thing at a time. That is what `engine.registry` does, on threads and real time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from random import Random

from celery_breaker.core import machine, tending
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Record, State
from celery_breaker.core.windows import Delta
from celery_breaker.simulation.scenario import Fleet
from celery_breaker.simulation.store import SimulatedStore
from celery_breaker.simulation.timeline import Process, Timeline
from celery_breaker.simulation.views import Views
from celery_breaker.simulation.worker import NOTHING, Admitted, Outcome, Worker

__all__ = ["Reporter", "flush_rounds"]


def flush_rounds(policy: Policy, refresh_interval: float) -> int:
    """Rounds from one report of successes to the next.

    Example:
        >>> flush_rounds(Policy(failure_window=20), refresh_interval=1.0)
        2
    """
    return max(1, math.ceil(policy.window.pause(refresh_interval) / refresh_interval - 1e-9))


class Reporter:
    """The reporters of all workers."""

    def __init__(
        self, timeline: Timeline, store: SimulatedStore, views: Views, policy: Policy, fleet: Fleet, random: Random
    ) -> None:
        self._timeline = timeline
        self._store = store
        self._views = views
        self._policy = policy
        self._latency = fleet.store_latency
        self._random = random
        self._exact = policy.consecutive_failures is not None
        self._rounds = flush_rounds(policy, fleet.refresh_interval)
        self._permits = 0

    # --- what workers hand over ---------------------------------------------------------------------------------------

    def report(self, worker: Worker, ticket: Admitted, *, failed: bool, slow: bool) -> None:
        """A call has ended."""
        view = worker.view
        if failed or slow or ticket.permit is not None or self._exact or view.state is State.HALF_OPEN:
            worker.outcomes.append(Outcome(ticket, failed, slow))
            if failed or ticket.permit is not None:
                self._wake(worker)
            else:
                self._expect_flush(worker)
        elif ticket.generation == view.generation and view.mode is not Mode.DISABLED:
            worker.successes += 1
            self._expect_flush(worker)

    def ask(self, worker: Worker, answer: Callable[[Admitted | None], None]) -> None:
        """A task needs a permit, or what there is instead by now."""
        worker.asks.append(answer)
        self._wake(worker)

    # --- rounds -----------------------------------------------------------------------------------------------------

    def _wake(self, worker: Worker) -> None:
        if not worker.reporting:
            worker.reporting = True
            self._timeline.spawn(self._round(worker))

    def _expect_flush(self, worker: Worker) -> None:
        """Successes are sent with the first round from now on that is late enough after the last that sent some."""
        if not worker.flushing:
            worker.flushing = True
            worker.pending_since = self._timeline.now
            number = self._views.round_at(worker, self._timeline.now) + 1
            if not worker.outcomes or not any(outcome.slow for outcome in worker.outcomes):
                number = max(number, worker.flushed + self._rounds)
            self._timeline.at(self._views.time_of(worker, number), self._flush_due, worker)

    def _flush_due(self, worker: Worker) -> None:
        worker.flushing = False
        if worker.stale:
            worker.stale = False
            worker.flushed = self._views.round_at(worker, self._timeline.now)
            self._store.tally(NOTHING, generation=-1, worker=worker.number)
            if worker.successes:
                self._expect_flush(worker)
        if not worker.reporting and (worker.successes or worker.delta.calls or worker.outcomes):
            worker.reporting = True
            self._timeline.spawn(self._round(worker, due=not worker.flushing))

    def _round(self, worker: Worker, *, due: bool = False) -> Process:
        while True:
            while worker.outcomes:
                yield from self._collect(worker, worker.outcomes.popleft())
            if due or worker.delta.failures or worker.delta.slow:
                yield from self._flush(worker)
                due = False
            while worker.asks:
                answer = worker.asks.popleft()
                ticket = yield from self._enter(worker)
                answer(ticket)
            if not (worker.outcomes or worker.delta.failures or worker.delta.slow):
                break
        worker.reporting = False
        if worker.successes or worker.delta.calls:
            self._expect_flush(worker)

    def _collect(self, worker: Worker, outcome: Outcome) -> Process:
        view, ticket = worker.view, outcome.ticket
        if ticket.generation == view.generation and view.mode is not Mode.DISABLED:
            if view.state is State.HALF_OPEN:
                yield from self._views.change(worker, self._settled(ticket.generation, failed=outcome.failed))
            else:
                worker.delta = worker.delta.then(failed=outcome.failed, slow=outcome.slow)
        if ticket.permit is not None:
            self._store.release(("permit", ticket.generation), ticket.permit)
            yield self._latency

    def _settled(self, generation: int, *, failed: bool) -> Callable[[Record, float], Record]:
        policy, u = self._policy, self._random.random()

        def step(record: Record, now: float) -> Record:
            if not failed:
                return machine.probe_succeeded(record, policy, generation=generation, now=now)
            return machine.probe_failed(record, policy, generation=generation, now=now, u=u, reason="probe failed")

        return step

    def _flush(self, worker: Worker) -> Process:
        generation, delta = worker.view.generation, _with_successes(worker.delta, worker.successes)
        if not delta.calls:
            return
        worker.delta, worker.successes = NOTHING, 0
        worker.flushed = self._views.round_at(worker, self._timeline.now)
        self._store.tally(delta, generation=generation, worker=worker.number)
        if not (delta.failures or delta.slow):
            yield self._latency
            return
        policy, u = self._policy, self._random.random()
        totals = self._store.totals(generation, workers=policy.min_workers)
        yield self._latency

        def trip(record: Record, now: float) -> Record:
            if record.generation != generation:
                return record
            return machine.tripped(record, totals, policy, now=now, u=u)

        yield from self._views.change(worker, trip)

    # --- permits ----------------------------------------------------------------------------------------------------

    def _enter(self, worker: Worker) -> Generator[float, None, Admitted | None]:
        """A ticket by whatever way the breaker allows now, winning a permit if that is what it takes."""
        policy = self._policy
        if policy.health_check is None and machine.due(worker.view, self._timeline.now):
            record = self._store.read()
            yield self._latency
            self._views.see(worker, record)
            yield from self._views.change(worker, lambda record, now: machine.half_opened(record, now=now))
        said = machine.admission(worker.view, policy, self._timeline.now)
        if said is machine.Admission.ADMIT:
            return worker.ticket
        return None if said is machine.Admission.REFUSE else (yield from self._win_permit(worker))

    def _win_permit(self, worker: Worker) -> Generator[float, None, Admitted | None]:
        """Lease a permit, then see whether its generation still lasts: an old view can win one of an ended one."""
        policy, generation = self._policy, worker.view.generation
        self._permits += 1
        permit = self._permits
        lease = self._store.lease(("permit", generation), permit, limit=policy.half_open_calls, ttl=policy.probe_lease)
        yield self._latency
        if not lease:
            if worker.view.generation == generation:
                worker.full_until = self._timeline.now + min(lease.free_in, tending.ASK_AGAIN)
            return None
        record = self._store.read()
        yield self._latency
        self._views.see(worker, record)
        if worker.view.generation == generation:
            return Admitted(generation, permit)
        self._store.release(("permit", generation), permit)
        yield self._latency
        admits = machine.admission(worker.view, policy, self._timeline.now) is machine.Admission.ADMIT
        return worker.ticket if admits else None


def _with_successes(delta: Delta, successes: int) -> Delta:
    return delta.plus(Delta(calls=successes, unbroken=False)) if successes else delta
