"""How often and for how long a task may be set aside."""

from __future__ import annotations

from celery_breaker.core.policy import Policy

__all__ = ["FLOOR", "LONGEST_DELAY", "back_off", "delay", "held_back", "may_defer", "recovered"]

FLOOR = 1.0
"""Shortest delay of a deferred task, in seconds: a delay of nothing would be a loop."""

LONGEST_DELAY = 900.0
"""Seconds: half of what RabbitMQ waits for an acknowledgement before it closes the channel."""


def may_defer(policy: Policy, *, deferrals: int, first: float | None, now: float) -> bool:
    """Whether a task that was deferred this often, first at ``first`` (seconds, any clock), may be once more.

    Example:
        >>> may_defer(Policy(max_deferrals=2), deferrals=2, first=0.0, now=1.0)
        False
    """
    if policy.max_deferrals is not None and deferrals >= policy.max_deferrals:
        return False
    return policy.max_deferral_age is None or first is None or now - first < policy.max_deferral_age


def delay(retry_after: float | None, policy: Policy, *, deferrals: int, cap: float, u: float) -> float:
    """Seconds until a task that is sent again, rather than parked, comes back.

    The time to the next probe, doubled with each earlier deferral, lengthened by up to half at random so that they do
    not all come at once, and capped: past the broker's visibility timeout the message would be delivered twice.

    Example:
        >>> delay(10.0, Policy(), deferrals=1, cap=1800.0, u=0.0)
        20.0
    """
    base = policy.recovery_timeout if retry_after is None else max(retry_after, FLOOR)
    return max(FLOOR, min(base * 2.0 ** min(deferrals, 32) * (1 + u / 2), cap))


def back_off(policy: Policy, *, deferrals: int, asked: float | None, u: float) -> float:
    """Seconds for which a task that was parked by a breaker that stays closed is left parked.

    A second, doubled with each earlier deferral, or what the service asked for if that is longer; lengthened by up to
    half at random so that they do not all come at once, and capped by the policy's longest open interval.

    Example:
        >>> back_off(Policy(), deferrals=3, asked=None, u=0.0), back_off(Policy(), deferrals=0, asked=30.0, u=0.5)
        (8.0, 37.5)
    """
    base = max(FLOOR * 2.0 ** min(deferrals, 32), asked or 0.0)
    return min(base * (1 + u / 2), policy.max_recovery_timeout)


def recovered(*, due: float | None, since: float, closed_at: float) -> bool:
    """Whether a task that was parked at ``since`` comes back because its breaker has recovered, and not at its time.

    Example:
        >>> recovered(due=20.0, since=10.0, closed_at=5.0)
        False
    """
    return due is None or since < closed_at


def held_back(*, due: float | None, since: float, closed_at: float, now: float) -> bool:
    """Whether a task, parked at ``since`` and due at ``due``, has to wait although its breaker is closed.

    A breaker that closed after the task was parked has recovered: nothing of that time has to wait.

    Example:
        >>> held_back(due=20.0, since=10.0, closed_at=5.0, now=15.0)
        True
        >>> held_back(due=20.0, since=10.0, closed_at=12.0, now=15.0)
        False
    """
    return due is not None and not recovered(due=due, since=since, closed_at=closed_at) and now < due
