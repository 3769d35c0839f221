"""The worker's side: all that runs in a worker's main process, from start to stop."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celery_breaker.core import tending
from celery_breaker.core.record import Record
from celery_breaker.engine.background import Background
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Cell
from celery_breaker.plugin import exports
from celery_breaker.plugin.agent.agent import Agent
from celery_breaker.plugin.aliases import AnyTask
from celery_breaker.plugin.app import AppBreakers
from celery_breaker.plugin.declared.policies import Policies
from celery_breaker.plugin.gate.deferral import Deferrer
from celery_breaker.plugin.gate.guard import Guard
from celery_breaker.plugin.gate.inside import wrap_run
from celery_breaker.plugin.gate.request import guarded_request
from celery_breaker.plugin.gate.strategy import guarded_strategy
from celery_breaker.plugin.gate.turnstile import permit_lease
from celery_breaker.plugin.mainloop import MainLoop
from celery_breaker.plugin.parking import start as parking
from celery_breaker.plugin.pausing.pausing import Pausing
from celery_breaker.plugin.pausing.plan import pause_plan
from celery_breaker.plugin.worker.events import Events
from celery_breaker.plugin.worker.steering import Steering
from celery_breaker.stores.message import MessageStore

if TYPE_CHECKING:
    from celery_breaker.metrics.prometheus import Served

__all__ = ["WorkerSide"]

logger = logging.getLogger(__name__)


class WorkerSide:
    """Guards the tasks of one worker. Made before the pool forks; its threads start after.

    Raises:
        ConfigurationError: settings or tasks are wrong; the worker must not start.
    """

    def __init__(self, breakers: AppBreakers, *, hostname: str) -> None:
        self.breakers = breakers
        self.policies: Policies = breakers.policies
        exports.check(breakers.settings)
        parking.check(breakers.app, breakers.policies)
        self.registry: Registry = breakers.registry
        self.registry.worker = hostname
        self.loop = MainLoop()
        self.events = Events(self.registry, send=self.loop.tell, monitored=lambda: self.loop.monitored)
        self._tending = Background(self._tend, name="celery-breaker-agent")
        self.deferrer = Deferrer(
            breakers.app, self.registry, breakers.open_lot(), loop=self.loop, unexpected=self._tending.wake
        )
        self.agent = Agent(breakers, parked=self._take_parked)
        self.pausing = self._open_pausing()
        self.steering = Steering(lambda: breakers.desk)
        self._asked_to_tend = False
        self._backlogs: dict[str, float] = {}
        self._stopping = False
        self._metrics: Served | None = None
        for name in self.policies.guarded:
            self._guard(breakers.app.tasks[name])

    def _open_pausing(self) -> Pausing:
        policies, tasks = self.policies, self.breakers.app.tasks
        plan = pause_plan(policies, tasks)
        leases = {
            name: max(permit_lease(policies.of(name), tasks[task].time_limit) for task in policies.guarding(name))
            for names in plan.values()
            for name in names
        }
        return Pausing(self.registry, self.loop, plan=plan, guarded=policies.guarded, leases=leases)

    def _guard(self, task: AnyTask) -> None:
        guard = Guard(
            task,
            registry=self.registry,
            policies=self.policies,
            loop=self.loop,
            deferrer=self.deferrer,
            pausing=self.pausing,
            shared=self.breakers.derived.shared and not self.breakers.rehearsed,
        )
        if self.breakers.rehearsed:
            guard.judged_inside = True  # so that outcomes are counted before a test can see the result
        task.Request = guarded_request(_unguarded(task, "Request"), guard)  # type: ignore[assignment]
        task.Strategy = guarded_strategy(_unguarded(task, "Strategy"), guard)  # type: ignore[assignment]
        if guard.has_fallback or guard.judged_inside or guard.defers:
            wrap_run(task)

    def start(self) -> None:
        """Read the records, then start the threads. Waits for the store once, at most its timeout."""
        derived = self.breakers.derived
        level = logging.INFO if derived.shared else logging.WARNING
        url = self.registry.link.shared.url
        logger.log(level, "breakers of %d tasks, kept in %s: %s", len(self.policies.guarded), url, derived.why)
        self._warn_of_lonely_counts()
        if (bus := self.breakers.bus) is not None:
            bus.listen()  # first, for news between the reading and the hearing would be lost
        self.registry.refresh()
        self.registry.watchers += [self._seen, self.events.seen]
        self.registry.meters.add(self.events)
        self.registry.reporter.start()
        self._tending.start()
        self.pausing.start()
        self._metrics = exports.open_port(self.registry, self.breakers.settings)

    def stop(self) -> None:
        """Finish what is in hand and give back the agent's lease; tasks that still run are heard until `close`."""
        self._stopping = True
        self.steering.stop()
        self.pausing.stop()
        self._tending.stop()
        self.agent.close()
        self.deferrer.close(last=False)
        self.events.stop()

    def close(self) -> None:
        """The pool has ended: set aside what failed last, and report what is left."""
        self.deferrer.close()
        if self._metrics is not None:
            self._metrics.stop()
        self.breakers.forget()

    def connected(self, consumer: Any) -> None:
        """The consumer has a connection, perhaps a new one."""
        self.loop.attach(consumer)
        self.deferrer.inline = not self.loop.evented
        self._warn_of_unheard_verdicts()

    def disconnected(self) -> None:
        """The connection is gone, and with it every message in hand: the broker gives them out again."""
        self.loop.lost()

    def _warn_of_unheard_verdicts(self) -> None:
        """A pool process tells its verdicts to the store; where the two do not share one, nobody hears them."""
        if not self.loop.forks:
            return
        judged = {name: policy.scope for name, policy in self.policies.declared.items() if policy.classify is not None}
        if judged and not self.breakers.derived.shared:
            why = "prefork needs a shared store, set breaker_store"
            logger.warning("classify of %s hears of exceptions, not of results: %s", ", ".join(judged), why)
        elif private := [name for name, scope in judged.items() if scope == "worker"]:
            why = "with scope='worker', prefork has no store to share"
            logger.warning("classify of %s hears of exceptions, not of results: %s", ", ".join(private), why)

    def _warn_of_lonely_counts(self) -> None:
        """Where no database adds up what workers count, none knows how many of them saw failures."""
        several = [name for name, policy in self.policies.declared.items() if policy.min_workers > 1]
        if several and isinstance(self.registry.link.shared, MessageStore):
            logger.warning("%s never trip: min_workers above 1 needs a database, set breaker_store", several)

    def tend_soon(self) -> None:
        """Somebody asked for a round of the agent."""
        self._asked_to_tend = True
        self._tending.wake()

    def _seen(self, cell: Cell, before: Record) -> None:
        if self._tending.current:
            return  # the agent's own doing: it knows when to look again
        if cell.record.generation != before.generation or cell.record.override != before.override:
            self._tending.wake()

    def _tend(self) -> float:
        if self._stopping or self.breakers.rehearsed:
            return 1.0
        full, self._asked_to_tend = self._asked_to_tend, False
        return self.agent.tend(full=full)

    def _take_parked(self) -> set[str]:
        """Breakers for which this process parked something, and whose record does not say so.

        They may never have refused, or do no more; or the store was away and has never heard of their opening. Each
        is looked at for a while: the agent may just have found its queue empty, and this view not have heard.
        """
        now = self.registry.clock()
        self._backlogs |= dict.fromkeys(self.deferrer.take_parked(), now)
        cells = {cell: at for name, at in self._backlogs.items() if (cell := self.registry.cells.get(name))}
        kept = {cell: at for cell, at in cells.items() if now - at < tending.GRACE or not self.registry.current(cell)}
        self._backlogs = {cell.name: at for cell, at in kept.items()}
        return {cell.name for cell in cells if not cell.record.draining}


def _unguarded(task: AnyTask, attribute: str) -> Any:
    """The task's own request class or strategy, as it was before a worker in this process guarded it."""
    kept = f"_celery_breaker_{attribute.lower()}"
    if kept not in task.__dict__:
        setattr(task, kept, getattr(task, attribute))
    return task.__dict__[kept]
