"""Steering from within a worker: what it was told over remote control is done in a thread of its own."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from celery_breaker.engine.background import Background
from celery_breaker.errors import BreakerError
from celery_breaker.status import Desk, actions

__all__ = ["Steering"]

logger = logging.getLogger(__name__)


class Steering:
    """Carries out orders, one after the other; the thread starts with the first. Thread-safe.

    Each worker of a fleet is given the same order, and it is done once: see `actions.once`. One that fails is logged
    and not tried again, for it may be out of date by then.

    Args:
        desk: where breakers are steered; asked for in the thread.
    """

    def __init__(self, desk: Callable[[], Desk]) -> None:
        self._desk = desk
        self._orders: deque[tuple[str, str, actions.Action]] = deque()
        self._background = Background(self._work, name="celery-breaker-steering")

    def order(self, what: str, name: str, action: actions.Action) -> None:
        """Have this done to breaker ``name``; ``what`` is how the log calls it. Never waits."""
        self._orders.append((what, name, actions.once(action)))
        self._background.wake()

    def stop(self) -> None:
        """Do what is left, and end the thread."""
        self._background.stop()

    def _work(self) -> float:
        while self._orders:
            what, name, action = self._orders.popleft()
            try:
                self._desk().act(name, action)
            except BreakerError as exc:
                logger.warning("%s of %r was not done: %s", what, name, exc)
        return 60.0
