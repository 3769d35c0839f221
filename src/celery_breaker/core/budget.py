"""The retry budget: how many of a service's calls may be retries."""

from __future__ import annotations

import math
from dataclasses import dataclass

from celery_breaker.core.policy import Policy
from celery_breaker.core.windows import Totals

__all__ = ["LEAST", "MOST", "Allowance", "allowance"]

LEAST = 3
"""Retries that are allowed in any case, in each window (or minute, if that is shorter): a quiet service has calls too
few for a share of them to be one."""

MOST = 100
"""Places at a time, however busy the service: some stores keep all who hold one in a single value."""

_LONGEST = 60.0
"""Seconds that a place is held at the most."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """``limit`` places, each taken for ``ttl`` seconds by one retry: so many retries in any ``ttl`` seconds."""

    limit: int
    ttl: float


def allowance(totals: Totals, policy: Policy) -> Allowance:
    """What the policy's ``retry_budget`` makes of the calls in its window, which is one of seconds.

    The share of a window's calls, over the window; or an even part of it, over a part of the window as large, so that
    the places stay few. With calls that stay the same, no window ever sees more retries than the share and `LEAST`.

    Example:
        >>> allowance(Totals(now=0.0, calls=200), Policy(retry_budget=0.1))
        Allowance(limit=20, ttl=60.0)
        >>> allowance(Totals(now=0.0, calls=30_000), Policy(retry_budget=0.1))
        Allowance(limit=100, ttl=2.0)
    """
    span = policy.window.span
    share = totals.calls * (policy.retry_budget or 0.0)
    parts = max(math.ceil(share / MOST), math.ceil(span / _LONGEST))
    return Allowance(limit=max(LEAST, math.floor(share / parts)), ttl=span / parts)
