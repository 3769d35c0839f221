"""The time of a memcached server, as a process knows it."""

from __future__ import annotations

import math
import threading
import time

from celery_breaker.clock import Clock
from celery_breaker.core.ticks import Ticks

__all__ = ["ServerClock"]

_STANDS_STILL = 5.0
"""Seconds by which a correction may set the clock back; it then waits for itself."""


def _time_of_day() -> float:
    return time.time()


class ServerClock:
    """Seconds by the server's clock, from answers that come now and then. Thread-safe.

    Args:
        local: never set; runs as fast as the server's clock.
        own: the machine's time of day.
    """

    def __init__(self, *, local: Clock = time.monotonic, own: Clock = _time_of_day) -> None:
        self._ticks = Ticks()
        self._local, self._own = local, own
        self._last = -math.inf
        self._lock = threading.Lock()

    def due(self) -> bool:
        """Whether the server should be asked."""
        return self._ticks.due(self._local())

    def ask(self, question: Clock) -> None:
        """Learn from the server's answer, a whole number of seconds."""
        sent = self._local()
        second = int(question())
        received = self._local()
        own = self._own() - self._local()
        with self._lock:
            self._ticks = self._ticks.heard(second, sent=sent, received=received, own=own)

    def now(self) -> float:
        """Seconds; never goes back, but to follow a server whose clock was set back by more than a correction."""
        with self._lock:
            now = self._local() + self._ticks.offset
            if not self._last - _STANDS_STILL < now < self._last:
                self._last = now
            return self._last

    def after_fork(self) -> None:
        """Make the copy in a forked child usable."""
        self._lock = threading.Lock()
