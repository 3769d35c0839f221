"""When an open breaker, or its backlog, is to be looked at again: times in seconds."""

from __future__ import annotations

from celery_breaker.core.policy import Policy

__all__ = ["ASK_AGAIN", "FULL_ROUND", "GRACE", "LATE", "NEWS", "STEP", "patience_after", "rest"]

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

_LONGEST_REST = 2.0
"""Seconds after which tasks that have to wait are looked at again: a look moves them, and shows only some."""

_FIRST_PATIENCE = 1.0


def patience_after(patience: float, policy: Policy) -> float:
    """How long a released probe is given before another follows: a second, doubled each time, up to a permit's lease.

    Example:
        >>> patience_after(0.0, Policy()), patience_after(40.0, Policy())
        (1.0, 60.0)
    """
    return min(max(patience * 2, _FIRST_PATIENCE), policy.probe_lease)


def rest(soonest: float | None, *, released: int) -> float:
    """Seconds until parked tasks are worth another look, the next of those that wait being due in ``soonest``.

    Example:
        >>> rest(None, released=3), rest(1.5, released=0), rest(100.0, released=0)
        (0.0, 1.5, 2.0)
    """
    return 0.0 if soonest is None or released else min(soonest, _LONGEST_REST)
