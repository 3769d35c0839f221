"""The agents of all workers: one at a time has the lease and tends the breaker, as `plugin.agent` does.

The others ask for the lease once a second while their view says that there is something to tend, in vain: the one that
has it renews it at each of its rounds, which are closer together than it lasts. So their tries are counted by division.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from random import Random

from celery_breaker.core import machine, ramp, tending
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Record, State
from celery_breaker.simulation.scenario import Fleet
from celery_breaker.simulation.store import SimulatedStore
from celery_breaker.simulation.timeline import Process, Timeline
from celery_breaker.simulation.views import Views
from celery_breaker.simulation.worker import NOTHING, Worker

__all__ = ["Agents", "Backlog"]

_LEASE = "agent"


@dataclass(frozen=True, slots=True)
class Backlog:
    """The agent's view of the queues and of the service.

    Attributes:
        parked: messages in the parking queue.
        depth: messages in the queue that they go back to; ``None`` until some have.
        release: moves (count, ahead) of them back; returns how many.
        check: the health check: whether it passes, and after how many seconds.
    """

    parked: Callable[[], int]
    depth: Callable[[], int | None]
    release: Callable[[int, bool], int]
    check: Callable[[], tuple[bool, float]]


@dataclass(slots=True)
class _Memory:
    """What one agent remembers from step to step."""

    drained_generation: int = -1
    least_depth: int | None = None
    drained_at: float = 0.0
    probed: tuple[int, int] = (-1, -1)
    probed_at: float = 0.0
    patience: float = 0.0
    checking: bool = False

    def excess(self, depth: int | None) -> int:
        """By how much the queue is deeper than it was."""
        if depth is None:
            return 0
        self.least_depth = depth if self.least_depth is None else min(self.least_depth, depth)
        return depth - self.least_depth


class Agents:
    """Half-opens, probes with parked tasks or by the health check, and releases the backlog on the ramp."""

    def __init__(
        self,
        timeline: Timeline,
        store: SimulatedStore,
        views: Views,
        workers: Sequence[Worker],
        policy: Policy,
        fleet: Fleet,
        backlog: Backlog,
        count: Callable[[str, int], None],
        random: Random,
    ) -> None:
        self._timeline = timeline
        self._store = store
        self._views = views
        self._policy = policy
        self._fleet = fleet
        self._backlog = backlog
        self._count = count
        self._random = random
        self._retry = min(fleet.tend_interval, 1.0)
        self._leader: Worker | None = None
        self._memory = _Memory()
        self._active = self._busy = self._again = False
        self._turn = 0
        self._workers = workers
        self._remind_all()
        views.watchers.append(self.seen)

    # --- who acts ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """The workers have begun: there may be something to tend already."""
        for worker in self._workers:
            self._wake(worker)

    def seen(self, worker: Worker, before: Record) -> None:
        """A worker's view has changed; its agent is woken by a new generation, and rests when nothing is to tend."""
        view = worker.view
        if view.state is State.CLOSED and not view.draining:
            # What it parked before its last try for the lease, it has forgotten by then.
            worker.late = worker.late or self._timeline.now - worker.parked <= self._retry
        if view.generation != before.generation or worker.late:
            self._wake(worker)
        elif _idle(view):
            self._count_tries(worker)
            worker.tried = None

    def _wake(self, worker: Worker) -> None:
        if worker is self._leader and self._active:
            if self._busy:
                self._again = True
            else:
                self._schedule(0.0)
            return
        self._count_tries(worker)
        if _idle(worker.view) and not worker.late:
            worker.tried = None
        elif not self._taken(worker):
            self._lead(worker)
        else:
            self._count("lease", 1)
            worker.tried = None if worker.late else self._timeline.now
            if worker.late:
                self._timeline.after(self._retry, self._try_again, worker)

    def _try_again(self, worker: Worker) -> None:
        """A worker that knows of parked tasks tries until it has the lease: nobody else may be about to look."""
        if worker.late and worker is not self._leader:
            self._wake(worker)

    def _taken(self, worker: Worker) -> bool:
        """Whether another has the lease."""
        if worker is self._leader:
            return False
        return self._active or self._store.held(_LEASE)

    def _lead(self, worker: Worker) -> None:
        if worker is not self._leader:
            self._leader, self._memory = worker, _Memory()
        worker.tried = None
        self._active, self._busy, self._again = True, False, False
        self._schedule(0.0)

    def _count_tries(self, worker: Worker) -> None:
        """Tries since the last that was counted."""
        if worker.tried is not None:
            tries = math.floor((self._timeline.now - worker.tried) / self._retry)
            self._count("lease", tries)
            worker.tried += tries * self._retry

    def settle(self) -> None:
        """Count what has been tried so far."""
        for worker in self._workers:
            self._count_tries(worker)

    # --- looks at every breaker of the store ----------------------------------------------------------------------

    def _remind_all(self) -> None:
        for worker in self._workers:
            self._timeline.at(self._random.random() * tending.FULL_ROUND, self._full_round, worker)
        if self._fleet.beat:
            self._timeline.at(self._random.random() * self._fleet.tend_interval, self._reminded)

    def _full_round(self, worker: Worker) -> None:
        self._timeline.after(tending.FULL_ROUND, self._full_round, worker)
        self._look(worker)

    def _reminded(self) -> None:
        """Beat's message has come to some worker."""
        self._timeline.after(self._fleet.tend_interval, self._reminded)
        self._look(self._workers[int(self._random.random() * len(self._workers))])

    def _look(self, worker: Worker) -> None:
        self._count("lease", 1)
        if self._taken(worker):
            return
        self._count("names", 1)
        self._views.see(worker, self._store.read())
        if self._active or not _idle(worker.view):
            return
        if self._backlog.parked():
            worker.late = True
            self._lead(worker)
        else:
            self._count("release", 1)

    # --- what the one does ------------------------------------------------------------------------------------------

    def _schedule(self, pause: float) -> None:
        self._turn += 1
        self._timeline.after(pause, self._run, self._turn)

    def _run(self, turn: int) -> None:
        if turn == self._turn and self._leader is not None:
            self._busy = True
            self._timeline.spawn(self._round(self._leader))

    def _round(self, worker: Worker) -> Process:
        pause = yield from self._tend(worker)
        self._busy = False
        if self._again:
            self._again, pause = False, 0.0
        if pause is None:
            self._active = False
        else:
            self._schedule(pause)

    def _tend(self, worker: Worker) -> Generator[float, None, float | None]:
        """One round; seconds until the next, ``None`` if there is nothing left to tend."""
        if _idle(worker.view) and not worker.late:
            return None
        self._store.lease(_LEASE, worker.number, limit=1, ttl=3 * self._fleet.tend_interval)
        yield self._fleet.store_latency
        if worker.late:
            worker.late = False
            yield from self._views.change(worker, lambda record, now: machine.expect_backlog(record))
        record, now = worker.view, self._timeline.now
        if machine.due(record, now):
            yield from self._views.change(worker, lambda record, now: machine.half_opened(record, now=now))
            return tending.NEWS
        if machine.admission(record, self._policy, now) is machine.Admission.ADMIT:
            return (yield from self._drain(worker, record))
        if record.state is State.HALF_OPEN and machine.mode_at(record, now) is Mode.AUTO:
            yield from self._probe(worker, record)
            return tending.STEP
        left = machine.retry_after(record, now)
        interval = self._fleet.tend_interval
        return interval if left is None else min(max(left, 0.01), interval)

    def _probe(self, worker: Worker, record: Record) -> Process:
        """Send a parked task ahead as a probe while a permit is free; another follows should it come back unused."""
        if self._policy.health_check is not None:
            if not self._memory.checking:
                self._memory.checking = True
                self._timeline.spawn(self._check_health(worker, record.generation))
            return
        memory, key, now = self._memory, (record.generation, record.successes), self._timeline.now
        if memory.probed != key:
            memory.probed, memory.patience = key, 0.0
        if not (yield from self._permit_free(worker, record.generation)):
            memory.patience = 0.0
            return
        if memory.patience and now - memory.probed_at < memory.patience:
            return
        memory.patience = tending.patience_after(memory.patience, self._policy)
        if self._backlog.release(self._policy.half_open_calls, True):
            memory.probed_at = now

    def _permit_free(self, worker: Worker, generation: int) -> Generator[float, None, bool]:
        key, holder = ("permit", generation), (worker.number, "agent")
        lease = self._store.lease(key, holder, limit=self._policy.half_open_calls, ttl=1.0)
        yield self._fleet.store_latency
        if lease:
            self._store.release(key, holder)
            yield self._fleet.store_latency
        elif worker.view.generation == generation:
            worker.full_until = self._timeline.now + min(lease.free_in, tending.ASK_AGAIN)
        return lease.held

    def _check_health(self, worker: Worker, generation: int) -> Process:
        memory = self._memory
        healthy, seconds = self._backlog.check()
        patience = self._policy.probe_lease
        yield min(seconds, patience)
        u = self._random.random()

        def step(record: Record, now: float) -> Record:
            if record.generation != generation:
                return record
            passed = healthy and seconds <= patience
            return machine.health_checked(
                record, self._policy, healthy=passed, now=now, u=u, reason="health check failed"
            )

        yield from self._views.change(worker, step)
        memory.checking = False

    def _drain(self, worker: Worker, record: Record) -> Generator[float, None, float]:
        """One step of the ramp."""
        if not record.draining:
            return self._fleet.tend_interval
        memory, now = self._memory, self._timeline.now
        if not self._backlog.parked():
            if now - record.since > tending.GRACE:
                memory.drained_generation = -1
                yield from self._views.change(worker, lambda record, now: machine.drained(record))
            return tending.STEP
        depth = self._backlog.depth()
        if memory.drained_generation != record.generation:
            memory.drained_generation, memory.least_depth, memory.drained_at = (
                record.generation,
                depth,
                now - tending.STEP,
            )
        excess, elapsed = memory.excess(depth), min(now - memory.drained_at, 1.0)
        self._store.tally(NOTHING, generation=record.generation, worker=worker.number)
        totals = self._store.totals(record.generation, workers=self._policy.min_workers)
        yield self._fleet.store_latency
        step = ramp.step(record.ramp, totals, self._policy, elapsed=elapsed, excess=excess)
        yield from self._views.change(worker, lambda record, now: machine.ramped(record, step.rate))
        if worker.view.generation == record.generation:
            self._backlog.release(step.count, False)
        memory.drained_at = now
        return tending.STEP


def _idle(record: Record) -> bool:
    """Nothing to tend: closed, and nothing parked."""
    return record.state is State.CLOSED and not record.draining
