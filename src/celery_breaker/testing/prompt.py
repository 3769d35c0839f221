"""A registry without a thread: what is handed over is done before the call returns, so that tests are certain."""

from __future__ import annotations

import threading
from collections.abc import Callable

from celery_breaker.clock import Clock
from celery_breaker.core.policy import Policy
from celery_breaker.engine.background import Background
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Cell
from celery_breaker.stores.base import Store

__all__ = ["PromptRegistry"]


class _AtOnce(Background):
    """Implements `Background` in the thread of whoever wakes it."""

    def __init__(self, work: Callable[[], float], *, name: str) -> None:
        super().__init__(work, name=name)
        self._turns = threading.RLock()
        self._turning = self._again = False

    @property
    def running(self) -> bool:
        return not self._stopping

    def start(self) -> None:
        """There is nothing to start."""

    def wake(self) -> None:
        """Work now; from within the work, once more at its end."""
        with self._turns:
            self._again = True
            if self._turning or self._stopping:
                return
            self._turning = True
            try:
                while self._again:
                    self._again = False
                    self.turn()
            finally:
                self._turning = False

    def stop(self, timeout: float = 2.0) -> None:
        """Work a last time."""
        self.wake()
        self._stopping = True


class PromptRegistry(Registry):
    """Counts each outcome, and answers each question for a permit, at once. Thread-safe.

    Intervals are not spread at random. Nobody tends, so calls probe where a health check would.
    """

    def __init__(self, store: Store, *, clock: Clock, policy_of: Callable[[str], Policy] | None = None) -> None:
        super().__init__(store, clock=clock, policy_of=policy_of, random=lambda: 0.5)
        self.reporter = _AtOnce(self.work, name="celery-breaker-reporter")

    def cell(self, name: str, *, pinned: bool = False) -> Cell:
        """See `Views.cell`; a worker looks at every call, so that its outcome is counted before its result is there."""
        cell = super().cell(name, pinned=pinned)
        cell.direct = False
        return cell
