"""The agent: tends open breakers. Whoever calls it takes a lease first, so however many there are, one acts."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING

from celery_breaker.core import machine, tending
from celery_breaker.core.names import is_name
from celery_breaker.core.record import Mode, Record, State
from celery_breaker.engine.news import about
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Cell
from celery_breaker.plugin.agent.backlog import Backlog
from celery_breaker.plugin.agent.health import HealthChecks
from celery_breaker.plugin.agent.lot import AgentLot
from celery_breaker.plugin.agent.probes import Probes

if TYPE_CHECKING:
    from celery_breaker.plugin.app import AppBreakers
    from celery_breaker.status import Waiting

__all__ = ["LEASE", "Agent"]

logger = logging.getLogger(__name__)

LEASE = "agent"
"""Key of the agent's lease in the store."""

_SEARCH = ""
"""Under which the search's own complaint is kept; no breaker has this name."""

_FORGET_AFTER = 86_400.0
"""Seconds after which a dynamic breaker that has stayed closed is forgotten."""


class Agent:
    """Moves open breakers to half-open when it is time, probes, releases the backlog, lifts what has expired.

    `tend` may be called from any process and as often as one likes; not from two threads at once.

    Attributes:
        held: whether the last round had the lease.
        tended_at: process clock of the last round that did; ``None`` before the first.

    Args:
        breakers: the app's.
        parked: takes the names of breakers for which this process has parked since the last call.
    """

    def __init__(self, breakers: AppBreakers, *, parked: Callable[[], set[str]] = set) -> None:
        self._breakers = breakers
        self._registry: Registry = breakers.registry
        self._interval = breakers.settings.tend_interval
        self._parked = parked
        self.held = False
        self.tended_at: float | None = None
        self._lot = AgentLot(breakers)
        self._backlog = Backlog(self._registry, self._lot)
        self._probes = Probes(self._registry, self._lot)
        self._holder = f"{self._registry.worker}:{os.getpid()}:{id(self):x}"
        self._health = HealthChecks(self._registry)
        self._full_at = self._search_at = 0.0
        self._late: set[str] = set()
        self._complaints: dict[str, str] = {}

    def tend(self, *, full: bool = False) -> float:
        """One round, if the lease can be had. Returns the seconds until another may be worth while.

        Args:
            full: look at every breaker of the store, not only at those this process knows.
        """
        registry = self._registry
        now = registry.clock()
        full = full or now >= self._full_at
        self._late |= self._parked()
        pause = self._tend_fleet(now, full=full)
        return min([pause, *(self._tend_one(cell, self._tend_own) for cell in self._concerning("worker"))])

    def _tend_fleet(self, now: float, *, full: bool) -> float:
        """A round of the breakers that are shared, if the lease can be had."""
        registry = self._registry
        if not full and not self._concerning("fleet"):
            return self._interval
        lease_for = 3 * self._interval
        self.held = bool(registry.link.run(lambda store: store.lease(LEASE, self._holder, limit=1, ttl=lease_for)))
        if not self.held:
            self._hand_over()
            if full:
                self._full_at = now + tending.FULL_ROUND
            return min(self._interval, 1.0)
        if full:
            self._full_at = now + tending.FULL_ROUND
            self._look_at_all()
        pauses = [self._tend_one(cell, self._do_what_is_due) for cell in self._concerning("fleet")]
        self.tended_at = registry.clock()
        registry.meters.tended()
        if not pauses:
            self._let_go()
        return min([*pauses, self._interval])

    def close(self) -> None:
        """Give back the lease and the connection."""
        self._let_go()
        self._lot.close()

    def _let_go(self) -> None:
        self.held = False
        self._registry.link.run(lambda store: store.release(LEASE, self._holder))

    def _hand_over(self) -> None:
        """Let whoever holds the lease know of what was parked here by breakers that are closed."""
        for name in list(self._late):
            self._expect_backlog(self._registry.cell(name))

    def _expect_backlog(self, cell: Cell) -> None:
        self._late.discard(cell.name)
        self._registry.change(cell, lambda record, now: machine.expect_backlog(record))

    def _concerning(self, scope: str) -> list[Cell]:
        """Breakers of this scope with which there may be something to do."""
        cells = [cell for cell in list(self._registry.cells.values()) if cell.policy.scope == scope]
        return [cell for cell in cells if not _idle(cell.record) or cell.name in self._late]

    def _look_at_all(self) -> None:
        registry = self._registry
        names = {name for name in registry.link.run(lambda store: store.names()) if is_name(name)}
        registry.refresh(names | set(registry.cells))
        declared = self._breakers.policies.names()
        cells = [registry.cell(name) for name in {*names, *declared}]
        idle = [cell for cell in cells if _idle(cell.record)]
        waiting = self._search([cell.name for cell in idle])
        for cell in idle:
            if cell.name not in waiting:
                continue
            if waiting[cell.name].size:
                self._late.add(cell.name)
            elif cell.name not in declared and self._unused(cell):
                registry.forget(cell.name)
        self._keep(registry.cells)

    def _keep(self, names: Container[str]) -> None:
        """Forget what is remembered of all other breakers: there may be many, named after arguments."""
        self._backlog.keep(names)
        self._probes.keep(names)
        self._complaints = {name: said for name, said in self._complaints.items() if name in names or name == _SEARCH}

    def _search(self, names: list[str]) -> Mapping[str, Waiting]:
        """What is parked for breakers that should have none; empty, if a search was lately or is impossible."""
        now = self._registry.clock()
        if not names or now < self._search_at:
            return {}
        try:
            lot = self._lot.open()
            waiting = lot.look(names)
            self._search_at = now + lot.pace.search
        except Exception as exc:
            if (complaint := repr(exc)) != self._complaints.get(_SEARCH):
                logger.warning("parked tasks cannot be counted, tried again with the next round: %s", complaint)
            self._complaints[_SEARCH] = complaint
            self._lot.close()
            return {}
        self._complaints.pop(_SEARCH, None)
        return waiting

    def _unused(self, cell: Cell) -> bool:
        """Closed for long, with no word of an operator, and not called."""
        record = cell.record
        long = self._registry.link.now() - record.since > _FORGET_AFTER
        return long and record.override is None and not record.tuning and self._registry.totals(cell).calls == 0

    # --- one breaker --------------------------------------------------------------------------------------------------

    def _tend_one(self, cell: Cell, tend: Callable[[Cell], float]) -> float:
        """Do what is due for one breaker; seconds until more may be. A failure is logged once and goes no further."""
        try:
            pause = tend(cell)
        except Exception as exc:
            if (complaint := repr(exc)) != self._complaints.get(cell.name):
                logger.warning(
                    "tending breaker %r failed, tried again each second: %s",
                    cell.name,
                    complaint,
                    extra=about(cell.record),
                )
            self._complaints[cell.name] = complaint
            self._lot.close()
            return 1.0
        self._complaints.pop(cell.name, None)
        return pause

    def _relaxed(self, cell: Cell) -> Record:
        """The record without an override that has expired, and with what is known of a backlog."""
        if cell.name in self._late:
            self._expect_backlog(cell)
        return self._registry.change(cell, lambda record, now: machine.relax(record, now=now))

    def _tend_own(self, cell: Cell) -> float:
        """Tend a breaker that this process has to itself, and so needs no lease for.

        What it parked is released whatever its state: other workers may be well.
        """
        record, now = self._relaxed(cell), self._registry.link.now()
        if machine.due(record, now):
            record = self._registry.change(cell, lambda record, now: machine.half_opened(record, now=now))
        if cell.policy.health_check is not None and _wants_probe(record, now):
            self._health.start(cell)
        left = machine.retry_after(cell.record, now) or self._interval
        return min(self._drain(cell, cell.record), max(left, 0.01))

    def _do_what_is_due(self, cell: Cell) -> float:
        registry = self._registry
        record = self._relaxed(cell)
        if machine.due(record, registry.link.now()):
            registry.change(cell, lambda record, now: machine.half_opened(record, now=now))
            return tending.NEWS
        said = machine.admission(record, cell.policy, registry.link.now())
        if said in (machine.Admission.ADMIT, machine.Admission.PLACE):
            return self._drain(cell, record)
        if _wants_probe(record, registry.link.now()):
            return self._probe(cell, record)
        return self._until_due(cell, record)

    def _until_due(self, cell: Cell, record: Record) -> float:
        left = machine.retry_after(record, self._registry.link.now())
        return self._interval if left is None else min(max(left, 0.01), self._interval)

    def _probe(self, cell: Cell, record: Record) -> float:
        if cell.policy.health_check is None:
            return self._probes.release(cell, record)
        self._health.start(cell)
        return tending.STEP

    def _drain(self, cell: Cell, record: Record) -> float:
        if not record.draining:
            return self._interval
        return self._backlog.step(cell, record)


def _wants_probe(record: Record, now: float) -> bool:
    return record.state is State.HALF_OPEN and machine.mode_at(record, now) is Mode.AUTO


def _idle(record: Record) -> bool:
    """Nothing to tend: closed, nothing parked, no override that could expire."""
    lasting = record.override is None or record.override.expires is None
    return record.state is State.CLOSED and not record.draining and lasting
