"""When an open breaker, or its backlog, is to be looked at again: times in seconds."""

from __future__ import annotations

from celery_breaker.core.policy import Policy

__all__ = ["ASK_AGAIN", "FULL_ROUND", "GRACE", "LATE", "NEWS", "STEP", "patience_after"]

STEP = 0.5
"""Between two steps while something is half-open or draining."""

NEWS = 0.05
"""That an announcement is given to reach the workers, before a probe does."""

GRACE = 3.0
"""For which a closed breaker's empty parking queue is still watched: slow views may park a last task."""

FULL_ROUND = 60.0
"""Between looks at every breaker of the store, if nobody asks for one."""

ASK_AGAIN = 1.0
"""For which a worker that found all permits taken does not ask for fresh tasks; one may be given back before."""

LATE = 3
"""Rounds of the agent after which what it should have done is overdue."""

_FIRST_PATIENCE = 1.0


def patience_after(patience: float, policy: Policy) -> float:
    """How long a released probe is given before another follows: a second, doubled each time, up to a permit's lease.

    Example:
        >>> patience_after(0.0, Policy()), patience_after(40.0, Policy())
        (1.0, 60.0)
    """
    return min(max(patience * 2, _FIRST_PATIENCE), policy.probe_lease)
