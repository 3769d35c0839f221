"""The agent: tends open breakers. Whoever calls it takes a lease first, so however many there are, one acts."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from celery_breaker.core import machine, ramp, tending
from celery_breaker.core.deferrals import held_back
from celery_breaker.core.names import is_name
from celery_breaker.core.record import Mode, Record, State
from celery_breaker.engine.news import about
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Cell
from celery_breaker.plugin import signals
from celery_breaker.plugin.agent.health import HealthChecks
from celery_breaker.plugin.parking.lot import Held, Lot
from celery_breaker.plugin.parking.note import Note

if TYPE_CHECKING:
    from celery_breaker.plugin.app import AppBreakers
    from celery_breaker.status import Waiting

__all__ = ["Agent"]

logger = logging.getLogger(__name__)

LEASE = "agent"
"""Key of the agent's lease in the store."""

_SEARCH = ""
"""Under which the search's own complaint is kept; no breaker has this name."""

_FORGET_AFTER = 86_400.0
"""Seconds after which a dynamic breaker that has stayed closed is forgotten."""


@dataclass(slots=True)
class _Draining:
    """What the agent remembers of a backlog from step to step.

    Attributes:
        depth: the least depth of the target queue since it began.
        given: what the last step released.
        left: what it left in the parking queue.
        rests_until: until when it need not look, because nothing is due.
    """

    generation: int
    depth: int | None
    at: float
    given: int = 0
    left: int = 0
    rests_until: float = 0.0

    def back(self, size: int) -> float:
        """The share of the last step that has been parked again, if all that was parked since is of it."""
        return min(1.0, max(0, size - self.left) / self.given) if self.given else 0.0

    def seen(self, depth: int | None) -> int:
        """By how much the queue is deeper now than it was; 0 while nobody knows which queue it is."""
        if depth is None:
            return 0
        self.depth = depth if self.depth is None else min(self.depth, depth)
        return depth - self.depth


@dataclass(slots=True)
class _Waiting:
    """Tells which parked tasks a breaker that closed at ``closed_at`` still holds back, and when the next is due."""

    closed_at: float
    now: float
    soonest: float | None = None

    def __call__(self, note: Note) -> bool:
        if not held_back(due=note.due, since=note.since, closed_at=self.closed_at, now=self.now):
            return False
        left = (note.due or 0.0) - self.now
        self.soonest = left if self.soonest is None else min(self.soonest, left)
        return True


@dataclass(slots=True)
class _Probing:
    """For which generation and success a probe was released last, and how long it is given before another follows.

    One may come back unused: a worker that had not heard yet parked it again, or a live task had the permit first.
    """

    key: tuple[int, int] = (-1, -1)
    at: float = 0.0
    patience: float = 0.0


@dataclass(slots=True)
class _Memory:
    draining: dict[str, _Draining] = field(default_factory=dict)
    probing: dict[str, _Probing] = field(default_factory=dict)


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
        self._lot: Lot | None = None
        self._holder = f"{self._registry.worker}:{os.getpid()}:{id(self):x}"
        self._memory = _Memory()
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
        if self._lot is not None:
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

    def _search(self, names: list[str]) -> Mapping[str, Waiting]:
        """What is parked for breakers that should have none; empty, if a search was lately or is impossible."""
        now = self._registry.clock()
        if not names or now < self._search_at:
            return {}
        try:
            lot = self._open_lot()
            waiting = lot.look(names)
            self._search_at = now + lot.pace.search
        except Exception as exc:
            if (complaint := repr(exc)) != self._complaints.get(_SEARCH):
                logger.warning("parked tasks cannot be counted, tried again with the next round: %s", complaint)
            self._complaints[_SEARCH] = complaint
            self._drop_lot()
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
            self._drop_lot()
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
        if cell.policy.health_check is not None and _probes(record, now):
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
        if _probes(record, registry.link.now()):
            return self._probe(cell, record)
        return self._until_due(cell, record)

    def _until_due(self, cell: Cell, record: Record) -> float:
        left = machine.retry_after(record, self._registry.link.now())
        return self._interval if left is None else min(max(left, 0.01), self._interval)

    def _probe(self, cell: Cell, record: Record) -> float:
        """Have the service tried, if nobody is at it; seconds until it may be worth while to look again."""
        if cell.policy.health_check is not None:
            self._health.start(cell)
            return tending.STEP
        probing = self._memory.probing.setdefault(cell.name, _Probing())
        key, now = (record.generation, record.successes), self._registry.clock()
        if probing.key != key:
            probing.key, probing.patience = key, 0.0
        if not self._registry.permit_free(cell):
            probing.patience = 0.0  # it is being probed; should that lease run out, another follows at once
            return tending.STEP
        if probing.patience and now - probing.at < probing.patience:
            return tending.STEP
        probing.patience = tending.patience_after(probing.patience, cell.policy)
        if released := self._release(cell.name, cell.policy.half_open_calls, ahead=True):
            name = cell.name
            logger.debug("breaker %r: %d parked tasks released as probes", name, released, extra=about(cell.record))
            probing.at = now
            return tending.STEP
        return max(tending.STEP, self._open_lot().pace.again)

    # --- the backlog ------------------------------------------------------------------------------------------------

    def _drain(self, cell: Cell, record: Record) -> float:
        """One step of the ramp; a queue that stays empty is no longer looked at."""
        registry, name = self._registry, cell.name
        if not record.draining:
            return self._interval
        size, now, pace = self._size(name), registry.clock(), self._open_lot().pace
        draining = self._memory.draining.get(name)
        if size == 0:
            closed = registry.link.now() - (record.recovering or record.since)
            empty = closed if draining is None else now - draining.at
            if closed > tending.GRACE + pace.settles and empty >= pace.settles and name not in self._late:
                self._memory.draining.pop(name, None)
                registry.change(cell, lambda record, now: machine.drained(record))
            return max(tending.STEP, pace.again)
        if draining is not None and draining.generation == record.generation and now < draining.rests_until:
            return max(tending.STEP, pace.again)
        depth = self._open_lot().target_depth(name)
        if draining is None or draining.generation != record.generation:
            draining = self._memory.draining[name] = _Draining(record.generation, depth, now - tending.STEP)
        excess, elapsed = draining.seen(depth), min(now - draining.at, 1.0)
        if cell.policy.scope == "worker":  # or one that parks again what it has released would go round and round
            excess += int(record.ramp * elapsed * draining.back(size))
        step = ramp.step(record.ramp, registry.totals(cell), cell.policy, elapsed=elapsed, excess=excess)
        registry.change(cell, lambda record, now: machine.ramped(record, step.rate))
        if cell.record.generation == record.generation:
            waiting = _Waiting(record.since, registry.link.now())
            draining.given = self._release(name, step.count, held=waiting)
            draining.left = size - draining.given
            if not machine.on_ramp(record, cell.policy):  # fresh calls wait for its next step
                draining.rests_until = now + tending.rest(waiting.soonest, released=draining.given)
        draining.at = now
        return tending.STEP

    def _release(self, name: str, count: int, *, ahead: bool = False, held: Held | None = None) -> int:
        released = self._open_lot().release(name, count, ahead=ahead, held=held)
        if released:
            self._registry.meters.released(name, released)
        if released and signals.task_released.receivers:
            signals.task_released.send(sender=self._breakers.app, name=name, count=released)
        return released

    def _size(self, name: str) -> int:
        return self._open_lot().size(name)

    def _open_lot(self) -> Lot:
        if self._lot is None:
            self._lot = self._breakers.open_lot()
        return self._lot

    def _drop_lot(self) -> None:
        lot, self._lot = self._lot, None
        if lot is not None:
            lot.close()


def _probes(record: Record, now: float) -> bool:
    return record.state is State.HALF_OPEN and machine.mode_at(record, now) is Mode.AUTO


def _idle(record: Record) -> bool:
    """Nothing to tend: closed, nothing parked, no override that could expire."""
    lasting = record.override is None or record.override.expires is None
    return record.state is State.CLOSED and not record.draining and lasting
