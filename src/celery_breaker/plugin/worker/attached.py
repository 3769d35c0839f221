"""The worker's side as it hangs on Celery's worker. Every command imports this, so it imports nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery_breaker.plugin.worker.side import WorkerSide

__all__ = ["side_of"]


def side_of(consumer: Any) -> WorkerSide | None:
    """The side of the worker to which this consumer belongs; ``None`` if that guards no task."""
    side: WorkerSide | None = getattr(consumer.controller, "breakers", None)
    return side
