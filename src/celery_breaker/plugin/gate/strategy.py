"""The strategy of guarded tasks: the cheapest place to park, before a request is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.utils.imports import symbol_by_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from celery_breaker.plugin.aliases import AnyTask
    from celery_breaker.plugin.gate.guard import Guard

__all__ = ["guarded_strategy"]


def guarded_strategy(base: Any, guard: Guard) -> Callable[..., Any]:
    """A strategy for this guard's task, in front of the one that the task has already."""

    def strategy(task: AnyTask, app: Celery, consumer: Any, **kwargs: Any) -> Callable[..., Any]:
        handle = symbol_by_name(base)(task, app, consumer, **kwargs)
        cell = guard.cell

        def on_message(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **options: Any) -> Any:
            if (cell is None or not cell.passing) and guard.park_at_once(message, ack):
                return None
            return handle(message, body, ack, reject, callbacks, **options)

        return on_message

    return strategy
