"""Probes: parked tasks that are released for the permits of a half-open breaker."""

from __future__ import annotations

import logging
from collections.abc import Container
from dataclasses import dataclass

from celery_breaker.core import tending
from celery_breaker.core.record import Record
from celery_breaker.engine.news import about
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Cell
from celery_breaker.plugin.agent.lot import AgentLot

__all__ = ["Probes"]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Probing:
    """For which generation and success a probe was released last, and how long it is given before another follows.

    One may come back unused: a worker that had not heard yet parked it again, or a live task had the permit first.
    """

    key: tuple[int, int] = (-1, -1)
    at: float = 0.0
    patience: float = 0.0


class Probes:
    """Remembers of each breaker when it was last given a probe."""

    def __init__(self, registry: Registry, lot: AgentLot) -> None:
        self._registry = registry
        self._lot = lot
        self._probing: dict[str, _Probing] = {}

    def keep(self, names: Container[str]) -> None:
        """Forget what is known of all other breakers."""
        self._probing = {name: probing for name, probing in self._probing.items() if name in names}

    def release(self, cell: Cell, record: Record) -> float:
        """Have the service tried, if nobody is at it; seconds until it may be worth while to look again."""
        probing = self._probing.setdefault(cell.name, _Probing())
        key, now = (record.generation, record.successes), self._registry.clock()
        if probing.key != key:
            probing.key, probing.patience = key, 0.0
        if not self._registry.permit_free(cell):
            probing.patience = 0.0  # it is being probed; should that lease run out, another follows at once
            return tending.STEP
        if probing.patience and now - probing.at < probing.patience:
            return tending.STEP
        probing.patience = tending.patience_after(probing.patience, cell.policy)
        if released := self._lot.release(cell.name, cell.policy.half_open_calls, ahead=True):
            name = cell.name
            logger.debug("breaker %r: %d parked tasks released as probes", name, released, extra=about(cell.record))
            probing.at = now
            return tending.STEP
        return max(tending.STEP, self._lot.open().pace.again)
