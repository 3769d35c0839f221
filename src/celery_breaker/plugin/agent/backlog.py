"""The backlog: what is parked for a breaker that admits calls again comes back step by step, on a ramp."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from celery_breaker.core import machine, ramp, tending
from celery_breaker.core.deferrals import held_back
from celery_breaker.core.record import Record
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Cell
from celery_breaker.plugin.agent.lot import AgentLot
from celery_breaker.plugin.parking.note import Note

__all__ = ["Backlog"]


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


class Backlog:
    """Releases what is parked, and remembers of each breaker how the last step went."""

    def __init__(self, registry: Registry, lot: AgentLot) -> None:
        self._registry = registry
        self._lot = lot
        self._draining: dict[str, _Draining] = {}

    def keep(self, names: Container[str]) -> None:
        """Forget what is known of all other breakers."""
        self._draining = {name: draining for name, draining in self._draining.items() if name in names}

    def step(self, cell: Cell, record: Record) -> float:
        """One step of the ramp; seconds until the next. A queue that stays empty is no longer looked at."""
        name, now, pace = cell.name, self._registry.clock(), self._lot.open().pace
        size, draining = self._lot.open().size(name), self._draining.get(name)
        rest = max(tending.STEP, pace.again)
        if size == 0:
            closed = self._registry.link.now() - (record.recovering or record.since)
            empty = closed if draining is None else now - draining.at
            if closed > tending.GRACE + pace.settles and empty >= pace.settles:
                self._draining.pop(name, None)
                self._registry.change(cell, lambda record, now: machine.drained(record))
            return rest
        known = draining is not None and draining.generation == record.generation
        if draining is not None and known and now < draining.rests_until:
            return rest
        depth = self._lot.open().target_depth(name)
        if draining is None or not known:
            draining = self._draining[name] = _Draining(record.generation, depth, now - tending.STEP)
        self._release(cell, record, draining, size=size, depth=depth, now=now)
        draining.at = now
        return tending.STEP

    def _release(
        self, cell: Cell, record: Record, draining: _Draining, *, size: int, depth: int | None, now: float
    ) -> None:
        registry, name = self._registry, cell.name
        excess, elapsed = draining.seen(depth), min(now - draining.at, 1.0)
        if cell.policy.scope == "worker":  # or one that parks again what it has released would go round and round
            excess += int(record.ramp * elapsed * draining.back(size))
        step = ramp.step(record.ramp, registry.totals(cell), cell.policy, elapsed=elapsed, excess=excess)
        registry.change(cell, lambda record, now: machine.ramped(record, step.rate))
        if cell.record.generation != record.generation:
            return
        waiting = _Waiting(record.since, registry.link.now())
        draining.given = self._lot.release(name, step.count, held=waiting)
        draining.left = size - draining.given
        if not machine.on_ramp(record, cell.policy):  # fresh calls wait for its next step
            draining.rests_until = now + tending.rest(waiting.soonest, released=draining.given)
