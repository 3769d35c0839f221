"""``celery_breaker.tend``: beat's reminder. A worker's main process takes it as it arrives, and no pool slot."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celery.utils.imports import symbol_by_name

from celery_breaker.plugin.worker.attached import side_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from celery_breaker.plugin.aliases import AnyTask

__all__ = ["TEND", "register"]

logger = logging.getLogger(__name__)

TEND = "celery_breaker.tend"
"""Name of the agent's task, and of its entry in beat's schedule."""


def register(app: Celery) -> None:
    """Register the task with an app, once."""
    if TEND in app.tasks:
        return

    @app.task(name=TEND, ignore_result=True, shared=False, lazy=False)
    def tend() -> None:
        """Have the agent look at every breaker; also from a direct call."""
        from celery_breaker.plugin.agent.agent import Agent
        from celery_breaker.plugin.app import breakers_of

        agent = Agent(breakers_of(app))
        try:
            agent.tend(full=True)
        finally:
            agent.close()

    tend.Strategy = _strategy  # type: ignore[assignment]


def _strategy(task: AnyTask, app: Celery, consumer: Any, **kwargs: Any) -> Callable[..., Any]:
    """Acknowledge and poke this worker's agent; a worker without one runs the task like any other."""
    handle = symbol_by_name("celery.worker.strategy:default")(task, app, consumer, **kwargs)

    def on_message(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **options: Any) -> Any:
        side = side_of(consumer)
        if side is None:
            return handle(message, body, ack, reject, callbacks, **options)
        message.ack_log_error(logger, consumer.connection_errors)
        side.tend_soon()
        return None

    return on_message
