"""The way of a task: from the queue to a worker, past its gate, to a slot and the service; or aside.

Who takes the next message is drawn from the workers that can: with a free slot, or with a gate that sets aside.
Messages that workers take in advance stay in the queue here, and do not show in its depth.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from itertools import islice
from random import Random

from celery_breaker.core import deferrals, machine
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Record
from celery_breaker.simulation.ledger import Ledger
from celery_breaker.simulation.reporter import Reporter
from celery_breaker.simulation.scenario import Fleet, Load
from celery_breaker.simulation.service import SimulatedService
from celery_breaker.simulation.store import SimulatedStore
from celery_breaker.simulation.timeline import Timeline
from celery_breaker.simulation.worker import Admitted, Task, Worker

__all__ = ["Pool"]

_LONGEST_RETRY = 600
"""Seconds: Celery's ``retry_backoff_max``."""


class Pool:
    """The queues and the slots of all workers."""

    def __init__(
        self,
        timeline: Timeline,
        store: SimulatedStore,
        workers: Sequence[Worker],
        *,
        reporter: Reporter,
        service: SimulatedService,
        policy: Policy,
        fleet: Fleet,
        load: Load,
        ledger: Ledger,
        random: Random,
    ) -> None:
        self._timeline = timeline
        self._store = store
        self._reporter = reporter
        self._service = service
        self._policy = policy
        self._load = load
        self._ledger = ledger
        self._counts = ledger.counts
        self._random = random
        self._ahead = fleet.ahead
        self._parking_time = 1 / fleet.parking_rate
        self._queue: deque[Task] = deque()
        self._parked: deque[Task] = deque()
        self._released = False
        self._held = 0
        self._ready: list[Worker] = []
        for worker in workers:
            self.update(worker)

    # --- the queues -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Put the backlog into the queue, and let tasks arrive."""
        for _ in range(self._load.backlog):
            self._arrive()
        if self._load.rate > 0:
            self._timeline.after(self._distance(), self._arrival)

    def _distance(self) -> float:
        return 1 / self._load.rate if self._load.regular else self._random.expovariate(self._load.rate)

    def _arrival(self) -> None:
        self._timeline.after(self._distance(), self._arrival)
        self._arrive()

    def _arrive(self) -> None:
        self._counts.arrived += 1
        self._queue.append(Task())
        self.dispatch()

    def _come_back(self, task: Task) -> None:
        """Its time has come."""
        self._counts.delayed -= 1
        self._queue.append(task)
        self.dispatch()

    def parked(self) -> int:
        """Tasks in the parking queue."""
        return len(self._parked)

    def queued(self) -> int:
        """Tasks in the queue or in workers' hands, without a slot."""
        return len(self._queue) + self._held

    def depth(self) -> int | None:
        """Messages that the broker would count in the queue; ``None`` until parked ones have gone back to it."""
        return max(0, len(self._queue) - self._ahead) if self._released else None

    def release(self, count: int, ahead: bool) -> int:
        """Move parked tasks back into the queue, oldest first; before all others if ``ahead``."""
        tasks = list(islice(self._parked, count))
        for _ in tasks:
            self._parked.popleft()
        if ahead:
            self._queue.extendleft(reversed(tasks))
        else:
            self._queue.extend(tasks)
        self._released = self._released or bool(tasks)
        self.dispatch()
        return len(tasks)

    # --- who takes a message ----------------------------------------------------------------------------------------

    def update(self, worker: Worker) -> None:
        """Note whether this worker can take a message now."""
        can = not worker.parking and (worker.free > 0 or not worker.passing)
        ready, place = self._ready, worker.place
        if can and place < 0:
            worker.place = len(ready)
            ready.append(worker)
        elif not can and place >= 0:
            last = ready.pop()
            if last is not worker:
                ready[place] = last
                last.place = place
            worker.place = -1

    def seen(self, worker: Worker, before: Record) -> None:
        """A worker's view has changed."""
        self.update(worker)

    def dispatch(self) -> None:
        """Hand out messages for as long as there are any, and workers to take them."""
        queue, ready = self._queue, self._ready
        while queue and ready:
            worker = ready[int(self._random.random() * len(ready))]
            self._gate(worker, queue.popleft())

    def _gate(self, worker: Worker, task: Task) -> None:
        if worker.passing:
            self._call(worker, task, worker.ticket)
            return
        said = machine.admission(worker.view, self._policy, self._timeline.now)
        if said is machine.Admission.ADMIT:
            self._admit(worker, task, worker.ticket)
        elif said is machine.Admission.PERMIT and not self._in_vain(worker, task):
            worker.held += 1
            self._held += 1
            self._reporter.ask(worker, partial(self._answered, worker, task))
        else:
            self._set_aside(worker, task)

    def _in_vain(self, worker: Worker, task: Task) -> bool:
        """Whether there is no permit to be hoped for; what was parked may have been released to get just that one."""
        if worker.held >= 2 * self._policy.half_open_calls:
            return True
        return self._timeline.now < worker.full_until and not task.deferrals

    def _answered(self, worker: Worker, task: Task, ticket: Admitted | None) -> None:
        worker.held -= 1
        self._held -= 1
        if ticket is None:
            self._set_aside(worker, task)
        else:
            self._admit(worker, task, ticket)

    # --- a call -----------------------------------------------------------------------------------------------------

    def _admit(self, worker: Worker, task: Task, ticket: Admitted) -> None:
        if worker.free > 0:
            self._call(worker, task, ticket)
        else:
            self._held += 1
            worker.waiting.append((task, ticket))

    def _call(self, worker: Worker, task: Task, ticket: Admitted) -> None:
        worker.free -= 1
        if not worker.free:
            self.update(worker)
        now = self._timeline.now
        ok, seconds = self._service.call(now)
        if dead := self._service.outage(now) is not None:
            admitted = machine.admission(self._store.record, self._policy, now) is machine.Admission.ADMIT
        else:
            admitted = True
        self._ledger.call(now, ok=ok, dead=dead, admitted=admitted, probe=ticket.permit is not None)
        self._timeline.after(seconds, self._end, worker, task, ticket, ok, seconds)

    def _end(self, worker: Worker, task: Task, ticket: Admitted, ok: bool, seconds: float) -> None:
        policy = self._policy
        slow = policy.slow_call_duration is not None and seconds > policy.slow_call_duration
        self._counts.running -= 1
        self._reporter.report(worker, ticket, failed=not ok or (slow and policy.slow_call_rate is None), slow=slow)
        if ok:
            self._counts.done += 1
            self._finish(task)
        else:
            self._retry_or_fail(task)
        worker.free += 1
        if worker.waiting:
            self._held -= 1
            self._call(worker, *worker.waiting.popleft())
        elif worker.free == 1:
            self.update(worker)
        self.dispatch()

    def _retry_or_fail(self, task: Task) -> None:
        if task.retries >= self._load.retries:
            self._counts.failed += 1
            self._finish(task)
            return
        countdown = min(2**task.retries, _LONGEST_RETRY)
        task.retries += 1
        self._counts.retries += 1
        self._counts.delayed += 1
        self._timeline.after(self._random.randrange(countdown + 1), self._come_back, task)

    def _finish(self, task: Task) -> None:
        if task.deferrals:
            self._ledger.finished(self._timeline.now, self._store.record)

    # --- aside --------------------------------------------------------------------------------------------------------

    def _set_aside(self, worker: Worker, task: Task) -> None:
        """What the policy has become of a task that is not admitted; keeps the worker busy for a moment."""
        worker.parking = True
        self.update(worker)
        self._timeline.after(self._parking_time, self._set_down, worker)
        policy, now, counts = self._policy, self._timeline.now, self._counts
        if callable(policy.on_open) or "." in policy.on_open:
            counts.fallbacks += 1
            self._finish(task)
        elif policy.on_open == "fail" or not deferrals.may_defer(
            policy, deferrals=task.deferrals, first=task.first, now=now
        ):
            counts.refused += 1
            self._finish(task)
        else:
            self._defer(worker, task)

    def _defer(self, worker: Worker, task: Task) -> None:
        policy, now, counts = self._policy, self._timeline.now, self._counts
        earlier = task.deferrals
        task.deferrals += 1
        counts.deferrals += 1
        if task.first is None:
            task.first = now
            counts.deferred += 1
        if policy.on_open in ("park", "pause"):
            self._parked.append(task)
            counts.most_parked = max(counts.most_parked, len(self._parked))
            worker.parked = now
        else:
            wait = machine.retry_after(worker.view, now)
            delay = deferrals.delay(
                wait, policy, deferrals=earlier, cap=deferrals.LONGEST_DELAY, u=self._random.random()
            )
            counts.delayed += 1
            self._timeline.after(delay, self._come_back, task)

    def _set_down(self, worker: Worker) -> None:
        worker.parking = False
        self.update(worker)
        self.dispatch()
