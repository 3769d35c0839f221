"""Checks of policies: breakers that can never trip, that trip at once, or that nothing uses. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from celery_breaker.core.policy import Policy
from celery_breaker.errors import nearest
from celery_breaker.plugin.doctor.case import Check, Facts, Finding, hint, problem

__all__ = ["CHECKS"]


def never_trips(facts: Facts) -> Iterator[Finding]:
    """No exception is a failure, or fewer workers run than must have seen one."""
    for name, policy in facts.policies.items():
        if policy.classify is None and _ignores_all(policy):
            yield problem(
                "never-trips",
                f"breaker {name!r} can never trip: ignore covers all that failures lists",
                "leave out of ignore what means that the service is down",
            )


def _ignores_all(policy: Policy) -> bool:
    counted = [kind for kind in policy.failures if not _covered(kind, policy)]
    return not counted and policy.slow_call_duration is None


def _covered(kind: object, policy: Policy) -> bool:
    classes = tuple(other for other in policy.ignore if isinstance(other, type))
    return kind in policy.ignore or (isinstance(kind, type) and issubclass(kind, classes))


def too_few_workers(facts: Facts) -> Iterator[Finding]:
    """``min_workers`` that cannot be met."""
    for name, policy in facts.policies.items():
        if policy.min_workers > 1 and facts.store.kind == "message":
            yield problem(
                "min-workers",
                f"breaker {name!r} can never trip: min_workers={policy.min_workers}, and with message:// each worker "
                "counts only what it sees itself",
                "drop min_workers, or set breaker_store to a database",
            )
        elif facts.workers and policy.min_workers > len(facts.workers):
            yield problem(
                "min-workers",
                f"breaker {name!r} cannot trip: min_workers={policy.min_workers}, and {len(facts.workers)} online",
                f"lower min_workers to {len(facts.workers)} or less, or start more workers",
            )


def trips_at_once(facts: Facts) -> Iterator[Finding]:
    """One failure is enough."""
    for name, policy in facts.policies.items():
        by_count = policy.max_failures == 1 and policy.min_workers == 1
        if by_count or policy.consecutive_failures == 1:
            option = "max_failures" if by_count else "consecutive_failures"
            yield hint(
                "trips-at-once",
                f"breaker {name!r}: {option}=1 lets a single failure open it for the whole fleet",
                f"raise {option}; `celery breaker simulate` shows what a value would do",
            )


def needs_all_to_fail(facts: Facts) -> Iterator[Finding]:
    """One success in the window is enough to keep it closed."""
    for name, policy in facts.policies.items():
        if policy.failure_rate == 1 and policy.consecutive_failures is None:
            yield hint(
                "needs-all-to-fail",
                f"breaker {name!r}: failure_rate=1 trips only once every call of the window has failed",
                "lower failure_rate, or set consecutive_failures",
            )


def unused(facts: Facts) -> Iterator[Finding]:
    """A breaker of the settings that no task is behind."""
    used = {name for task in facts.tasks for name in task.breakers}
    for name in facts.set_up:
        if name in used:
            continue
        near = nearest(name, sorted(used - set(facts.set_up)))
        meant = f"did you mean {near!r}" if near else "name it in a task's breaker=, or give it tasks=[…]"
        yield hint(
            "unused-breaker",
            f"no task is behind breaker {name!r}, which the settings declare",
            f"{meant}; where only your own code calls it, this is fine",
        )


CHECKS: tuple[Check, ...] = (never_trips, too_few_workers, trips_at_once, needs_all_to_fail, unused)
