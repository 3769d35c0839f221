"""How long a breaker stays open while its probes keep failing."""

from __future__ import annotations

import math
from collections.abc import Callable

from celery_breaker.errors import ConfigurationError

__all__ = ["Backoff", "check_backoff", "interval"]

Backoff = str | Callable[[int, float], float]
"""A name from ``GROWTH``, or a callable of (attempt from 1, first interval in seconds) → seconds."""

_MAX_EXPONENT = 64
"""2 ** 64 first intervals are past any cap; keeps the power from overflowing."""

GROWTH: dict[str, Callable[[int, float], float]] = {
    "constant": lambda attempt, first: first,
    "linear": lambda attempt, first: first * attempt,
    "logarithmic": lambda attempt, first: first * (1 + math.log2(attempt)),
    "exponential": lambda attempt, first: first * 2.0 ** min(attempt - 1, _MAX_EXPONENT),
}


def check_backoff(backoff: Backoff) -> None:
    """Raise `ConfigurationError` unless ``backoff`` is callable or a known name."""
    if not callable(backoff) and not (isinstance(backoff, str) and backoff in GROWTH):
        raise ConfigurationError(
            f"backoff={backoff!r} is unknown; use one of {', '.join(sorted(GROWTH))} or a callable"
        )


def interval(
    backoff: Backoff,
    *,
    attempt: int,
    first: float,
    cap: float,
    jitter: float,
    u: float,
    retry_after: float | None = None,
) -> float:
    """Seconds to stay open: the growth, or the service's own ``Retry-After`` if longer, capped, then jittered.

    Jitter only shortens or lengthens by its share: ``interval × (1 + jitter × (2u − 1))``, so that breakers that
    opened together do not probe together; the result never passes the cap, nor falls short of a ``Retry-After``
    that the cap allows. ``u`` is uniform in [0, 1). A callable that raises or returns nonsense counts as constant.

    Example:
        >>> interval("exponential", attempt=3, first=30, cap=900, jitter=0.1, u=0.5)
        120.0
    """
    grow = backoff if callable(backoff) else GROWTH[backoff]
    try:
        seconds = float(grow(attempt, first))
    except Exception:
        seconds = first
    if not seconds > 0:  # also false for nan
        seconds = first
    asked = min(retry_after or 0.0, cap)
    spread = min(seconds, cap) * (1 + jitter * (2 * u - 1))
    return max(asked, min(spread, cap))
