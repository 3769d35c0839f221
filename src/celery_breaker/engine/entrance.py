"""What both faces of a `Breaker` stand on: its place in a registry, the way in, and where outcomes go."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from celery_breaker.core.names import check_name
from celery_breaker.core.policy import Policy
from celery_breaker.engine.default import current_registry, registry_at
from celery_breaker.engine.judging import outcome_of
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Cell, Ticket
from celery_breaker.errors import BreakerOpen, ConfigurationError
from celery_breaker.stores.base import Store

__all__ = ["Entrance"]


class Entrance:
    """A breaker by name, whose registry is found at the first use. Thread-safe, fork-safe."""

    def __init__(self, name: str, *, policy: Policy | None = None, store: str | Store | None = None) -> None:
        self.name: str = check_name(name)
        if policy is not None and not isinstance(policy, Policy):
            raise ConfigurationError(f"policy={policy!r} is no Policy; Policy.from_options makes one from a mapping")
        self._policy = policy
        self._store = store
        self._cell: Cell | None = None
        self._registry: Registry | None = None

    def __repr__(self) -> str:
        return f"Breaker({self.name!r})"

    def _resolve(self, current: Callable[[], Registry] = current_registry) -> Cell:
        registry = registry_at(self._store) if self._store is not None else current()
        if self._policy is not None:
            registry.declare(self.name, self._policy)
        cell = registry.cell(self.name)
        registry.reporter.start()
        self._registry, self._cell = registry, cell
        return cell

    def _at_hand(self) -> tuple[Registry, Cell] | None:
        """The registry and the view in use now, unless the view was dropped for idleness; memory only."""
        cell, registry = self._cell, self._registry
        if cell is None or registry is None or registry.cells.get(self.name) is not cell:
            return None
        return registry, cell

    def _own(self, current: Callable[[], Registry] = current_registry) -> tuple[Registry, Cell]:
        """The registry and the view in use now; a view that was dropped for idleness is made again."""
        if at_hand := self._at_hand():
            return at_hand
        cell, registry = self._resolve(current), self._registry
        assert registry is not None
        return registry, cell

    def _enter(self, cell: Cell) -> Ticket:
        registry, cell = self._own()
        if cell.passing:
            return cell.ticket
        return registry.enter(cell) or self._refuse(registry, cell)

    def _refuse(self, registry: Registry, cell: Cell) -> NoReturn:
        retry_after = registry.retry_after(cell)
        registry.meters.refused(self.name, retry_after)
        raise BreakerOpen(self.name, retry_after)

    def _now(self) -> float:
        assert self._registry is not None
        return self._registry.clock()

    def _ended(
        self, ticket: Ticket, started: float, *, exception: BaseException | None = None, result: object = None
    ) -> None:
        assert self._registry is not None
        outcome = outcome_of(ticket, exception=exception, result=result, duration=self._now() - started)
        self._registry.report(outcome)
