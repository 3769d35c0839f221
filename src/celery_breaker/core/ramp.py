"""The ramp: how many parked tasks may go back now."""

from __future__ import annotations

from dataclasses import dataclass

from celery_breaker.core import tending
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Record
from celery_breaker.core.windows import Totals

__all__ = ["MAX_RATE", "Share", "Step", "fresh", "step"]

MAX_RATE = 10_000.0
"""Releases per second beyond which doubling is no longer a ramp."""


@dataclass(frozen=True, slots=True)
class Step:
    """The rate from now on, in tasks per second, and how many tasks to release at once."""

    rate: float
    count: int


def step(rate: float, totals: Totals, policy: Policy, *, elapsed: float, excess: int) -> Step:
    """One step of the ramp, ``elapsed`` seconds after the last one.

    Starts at ``ramp_start``. Doubles while the window is healthy (less than a quarter of what would trip) and the
    workers have taken half of the last step; halves, never below one a second, while the window is not healthy.
    ``excess`` is by how much the target queue is deeper than when the draining began: it is taken off, so that
    released work never gets far ahead of the workers. One task always goes, so that the backlog cannot starve.

    Example:
        >>> step(20.0, Totals(now=0), Policy(), elapsed=0.5, excess=0)
        Step(rate=40.0, count=20)
    """
    failures = totals.failures * 4
    if rate <= 0:
        rate = policy.ramp_start
    elif failures > policy.max_failures and failures > policy.failure_rate * totals.calls:
        rate = max(1.0, rate / 2)
    elif excess * 2 < rate * elapsed:
        rate = min(rate * 2, MAX_RATE)
    most = int(rate * elapsed)
    return Step(rate, max(1, (most // 2 if policy.admit_ramp else most) - max(0, excess)))


_SHARES = 10
"""Into which a step of the ramp is parted, for workers to take one after the other."""

_DOUBLINGS = 64
"""After which a rate is beyond all bounds."""


@dataclass(frozen=True, slots=True)
class Share:
    """Of fresh calls on the ramp: ``limit`` shares of ``size`` calls each may be taken within ``seconds``."""

    limit: int
    size: int
    seconds: float


def fresh(record: Record, policy: Policy, *, now: float) -> Share:
    """The half of the ramp that is for fresh calls, where the policy has them on it.

    At the rate of release; while nothing is released, at one that starts and doubles alike, so that the ramp ends
    whoever tends. At least one call goes in each step.

    Example:
        >>> fresh(Record(name="smtp", ramp=80.0), Policy(admit_ramp=True), now=0.0)
        Share(limit=10, size=2, seconds=0.5)
    """
    since = record.since if record.recovering is None else record.recovering
    steps = min(max(0.0, now - since) / tending.STEP, _DOUBLINGS)
    rate = record.ramp or min(policy.ramp_start * 2.0**steps, MAX_RATE)
    calls = max(1, int(rate * tending.STEP / 2))
    size = -(-calls // _SHARES)
    return Share(limit=max(1, calls // size), size=size, seconds=tending.STEP)
