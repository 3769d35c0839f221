"""Telling meters and receivers of signals that a task was not admitted, whoever turned it away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery_breaker.plugin import signals

if TYPE_CHECKING:
    from celery import Celery

    from celery_breaker.engine.registry import Registry

__all__ = ["tell_deferred"]


def tell_deferred(
    app: Celery, registry: Registry, name: str, *, task_id: str | None, task_name: str, action: str, deferrals: int
) -> None:
    """Tell of one task that breaker ``name`` did not admit; the rest as `signals.task_deferred` has it."""
    registry.meters.deferred(name, action)
    if signals.task_deferred.receivers:
        signals.task_deferred.send(
            sender=app, name=name, task_id=task_id, task_name=task_name, action=action, deferrals=deferrals
        )
