"""The simulated service: how long a call takes, and how it ends."""

from __future__ import annotations

import math
from bisect import bisect_right
from random import Random

from celery_breaker.simulation.scenario import Outage, Service

__all__ = ["SimulatedService"]


class SimulatedService:
    """Answers calls as a `Service` says."""

    def __init__(self, service: Service, random: Random) -> None:
        self._service = service
        self._random = random
        self._starts = [outage.start for outage in service.outages]
        self._second = -1
        self._taken = 0

    def outage(self, now: float) -> Outage | None:
        """The outage at ``now``, or ``None`` while the service is up."""
        index = bisect_right(self._starts, now) - 1
        if index < 0:
            return None
        outage = self._service.outages[index]
        return outage if now < outage.end else None

    def call(self, now: float) -> tuple[bool, float]:
        """Make a call: whether it succeeds, and after how many seconds."""
        outage = self.outage(now)
        if outage is not None and self._random.random() < outage.failure_rate:
            return False, self._seconds(outage.latency)
        fails = self._service.failure_rate > 0 and self._random.random() < self._service.failure_rate
        fails = self._overloaded(now) or fails
        return not fails, self._seconds(self._service.latency)

    def _seconds(self, median: float) -> float:
        spread = self._service.spread
        return self._random.lognormvariate(math.log(median), spread) if spread and median else median

    def _overloaded(self, now: float) -> bool:
        """Whether this call is one more than a second holds."""
        if self._service.capacity is None:
            return False
        if self._second != int(now):
            self._second, self._taken = int(now), 0
        self._taken += 1
        return self._taken > self._service.capacity
