"""Running a scenario."""

from __future__ import annotations

import math
from random import Random

from celery_breaker.core import machine
from celery_breaker.core.events import Change
from celery_breaker.core.record import Mode, Record, State
from celery_breaker.simulation.agent import Agents, Backlog
from celery_breaker.simulation.ledger import Ledger
from celery_breaker.simulation.pool import Pool
from celery_breaker.simulation.report import Report, Tasks
from celery_breaker.simulation.reporter import Reporter, flush_rounds
from celery_breaker.simulation.scenario import MAX_TASKS, Scenario
from celery_breaker.simulation.service import SimulatedService
from celery_breaker.simulation.store import SimulatedStore
from celery_breaker.simulation.timeline import Timeline
from celery_breaker.simulation.views import Views
from celery_breaker.simulation.worker import Worker

__all__ = ["simulate"]

_QUIET = 5.0
"""Seconds that are simulated on when the last backlog is done."""


def simulate(scenario: Scenario) -> Report:
    """Run a scenario to its end, and say what happened.

    Deterministic: a scenario has one outcome. The time it takes grows with the number of tasks, some ten microseconds
    each, and by little with the workers, since what they do on their own while nothing changes is counted and not
    played through.

    Example:
        >>> from celery_breaker.simulation.scenario import Load, Outage, Service
        >>> down = Service(outages=(Outage(start=20, duration=60),))
        >>> simulate(Scenario(service=down, load=Load(rate=20))).trips
        1
    """
    return _Simulation(scenario).run()


class _Simulation:
    """The parts, put together."""

    def __init__(self, scenario: Scenario) -> None:
        policy, fleet, random = scenario.policy, scenario.fleet, Random(scenario.seed)
        self.scenario = scenario
        self.timeline = timeline = Timeline()
        record = machine.override(Record(name="simulated"), scenario.mode, now=0.0)
        if scenario.mode is not Mode.FORCED_OPEN:
            record = machine.drained(record)  # nothing is parked, and the agent has seen to that
        wait = flush_rounds(policy, fleet.refresh_interval)
        self.workers = [
            Worker(
                number,
                phase=random.random() * fleet.refresh_interval,
                slots=fleet.concurrency,
                record=record,
                flushed=random.randrange(wait) - wait,
            )
            for number in range(fleet.workers)
        ]
        self.ledger = ledger = Ledger(sample=scenario.sample, settle=self._settle)
        self.store = store = SimulatedStore(timeline, record, policy.window, ledger.operation)
        self.views = Views(timeline, store, self.workers, fleet)
        self.service = SimulatedService(scenario.service, random)
        reporter = Reporter(timeline, store, self.views, policy, fleet, random)
        self.pool = Pool(
            timeline,
            store,
            self.workers,
            reporter=reporter,
            service=self.service,
            policy=policy,
            fleet=fleet,
            load=scenario.load,
            ledger=ledger,
            random=random,
        )
        backlog = Backlog(self.pool.parked, self.pool.depth, self.pool.release, self._check)
        self.views.watchers.append(self.pool.seen)
        self.views.refreshed = self.pool.dispatch
        self.views.written.append(self._written)
        self.agents = Agents(
            timeline, store, self.views, self.workers, policy, fleet, backlog, ledger.operation, random
        )
        for outage in scenario.service.outages:
            timeline.at(outage.start, self._turn)
            if math.isfinite(outage.end):
                timeline.at(outage.end, self._turn)
        self._turn()

    def _up(self) -> bool:
        return self.service.outage(self.timeline.now) is None

    def _turn(self, *, end: bool = False) -> None:
        self.ledger.turn(self.timeline.now, self.store.record, up=self._up(), end=end)

    def _settle(self, start: float, end: float) -> None:
        """Count what each worker does on its own."""
        self.ledger.operation("read", self.views.rounds(start, end))
        self.agents.settle()

    def _check(self) -> tuple[bool, float]:
        """A health check: a call to the service that no task makes."""
        self.ledger.check(dead=not self._up())
        return self.service.call(self.timeline.now)

    def _written(self, before: Record, after: Record, change: Change | None) -> None:
        self.ledger.written(self.timeline.now, before, after, change, up=self._up())
        if change is not None and after.state is State.OPEN and after.mode is Mode.OBSERVING:
            self._half_open_observed(after)

    def _half_open_observed(self, record: Record) -> None:
        """Where all is admitted nobody asks for a permit: the first round after the interval half-opens."""
        views = self.views
        when, _, worker = min(
            (views.time_of(worker, views.round_at(worker, record.until) + 1), worker.number, worker)
            for worker in self.workers
        )
        process = views.change(worker, lambda record, now: machine.half_opened(record, now=now))
        self.timeline.at(when, self.timeline.spawn, process)

    # --- from start to end --------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Play it through."""
        sample, end = self.scenario.sample, 0.0
        self.pool.start()
        self.agents.start()
        quiet = 0.0
        while end < self.scenario.horizon and quiet < _QUIET and self.ledger.counts.arrived < MAX_TASKS:
            end = min(end + sample, self.scenario.horizon)
            self.timeline.run(until=end)
            self.ledger.point(self.store.record, parked=self.pool.parked(), queued=self.pool.queued())
            quiet = quiet + sample if self._over(end) else 0.0
        self._turn(end=True)
        return self._report(end)

    def _over(self, now: float) -> bool:
        """Whether nothing is left of the last outage, if the end was left open."""
        if self.scenario.duration is not None or now <= self.scenario.least:
            return False
        record = self.store.record
        closed = record.state is State.CLOSED and not record.draining
        return record.mode is Mode.FORCED_OPEN or (closed and not self.ledger.counts.deferred)

    def _report(self, end: float) -> Report:
        counts, ledger, outages = self.ledger.counts, self.ledger, self.scenario.service.outages
        return Report(
            seconds=end,
            workers=self.scenario.fleet.workers,
            recovered=self.scenario.recovered,
            first_outage=outages[0].start if outages else None,
            tasks=Tasks(
                arrived=counts.arrived,
                done=counts.done,
                failed=counts.failed,
                refused=counts.refused,
                fallbacks=counts.fallbacks,
                parked=self.pool.parked(),
                waiting=self.pool.queued(),
                delayed=counts.delayed,
                running=counts.running,
                deferrals=counts.deferrals,
                retries=counts.retries,
            ),
            dead_calls=ledger.dead_calls,
            most_parked=counts.most_parked,
            drained=ledger.drained,
            transitions=tuple(ledger.transitions),
            intervals=ledger.open_intervals(),
            operations={phase: dict(kinds) for phase, kinds in ledger.operations.items()},
            phases={phase: ledger.seconds[phase] for phase in ledger.operations},
            series=ledger.series(),
        )
