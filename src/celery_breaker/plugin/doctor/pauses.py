"""Checks of paused queues, and of breakers that each worker has to itself. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from celery_breaker.plugin.doctor.case import Check, Facts, Finding, hint, problem

__all__ = ["CHECKS"]


def paused_queues(facts: Facts) -> Iterator[Finding]:
    """A queue that cannot be paused, for which workers do not start."""
    if facts.pause_error:
        says, _, cure = facts.pause_error.partition("; ")
        yield problem("paused-queues", f"workers will not start: {says}", cure)


def bad_worker(facts: Facts) -> Iterator[Finding]:
    """A worker that is bad, and goes on taking tasks."""
    for name, policy in facts.policies.items():
        if policy.scope == "worker" and policy.on_open in ("park", "retry"):
            yield hint(
                "bad-worker",
                f"breaker {name!r}: a worker whose own breaker is open goes on taking tasks from the others, only to "
                "set them aside",
                "give its tasks a queue of their own, and say on_open='pause'",
            )


CHECKS: tuple[Check, ...] = (paused_queues, bad_worker)
