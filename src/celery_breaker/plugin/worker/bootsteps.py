"""Bootsteps: how the worker's side gets into Celery's worker."""

from __future__ import annotations

import logging
from typing import Any

import click
from celery import bootsteps

from celery_breaker.errors import ConfigurationError
from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.worker import control  # noqa: F401  (registers what a worker answers)
from celery_breaker.plugin.worker.attached import side_of
from celery_breaker.plugin.worker.running import keep_running
from celery_breaker.plugin.worker.side import WorkerSide

__all__ = ["ConsumerStep", "PauseStep", "WorkerStep", "on_worker_shutdown"]

logger = logging.getLogger(__name__)


class WorkerStep(bootsteps.StartStopStep):
    """Guards the tasks before the pool forks, starts the threads after."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        try:
            breakers = breakers_of(worker.app)
            breakers.forget()
            worker.breakers = WorkerSide(breakers, hostname=worker.hostname) if breakers.policies.guarded else None
        except ConfigurationError as exc:
            if click.get_current_context(silent=True) is not None:
                raise click.ClickException(f"celery-breaker: {exc}") from exc
            raise

    def start(self, parent: Any) -> None:
        """The pool runs."""
        if parent.breakers is not None:
            keep_running(parent.pool)
            parent.breakers.start()

    def stop(self, parent: Any) -> None:
        """The worker stops, warm or cold."""
        if parent.breakers is not None:
            parent.breakers.stop()

    def terminate(self, parent: Any) -> None:
        """The worker stops at once."""
        self.stop(parent)


class ConsumerStep(bootsteps.StartStopStep):
    """Follows the consumer through its connections."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def start(self, parent: Any) -> None:
        """A connection is there; the tasks are not consumed yet."""
        if (side := side_of(parent)) is not None:
            side.connected(parent)

    def register_with_event_loop(self, consumer: Any, hub: Any) -> None:
        """The loop is about to run."""
        if (side := side_of(consumer)) is not None:
            side.loop.listen(hub)

    def stop(self, parent: Any) -> None:
        """The connection is gone, or the worker stops consuming."""
        if (side := side_of(parent)) is not None:
            side.disconnected()


class PauseStep(bootsteps.StartStopStep):
    """Follows the task consumer: between its making and its first message, and until it is cancelled."""

    requires = ("celery.worker.consumer.tasks:Tasks", ConsumerStep)

    def start(self, parent: Any) -> None:
        """The tasks' queues are declared, and not consumed yet."""
        if (side := side_of(parent)) is not None:
            side.pausing.connected(parent)

    def stop(self, parent: Any) -> None:
        """The task consumer is about to be cancelled."""
        if (side := side_of(parent)) is not None:
            side.pausing.disconnected()


def on_worker_shutdown(sender: Any = None, **_: Any) -> None:
    """The pool has been joined, so the last outcome has been heard."""
    side = getattr(sender, "breakers", None)
    if side is not None:
        sender.breakers = None
        side.close()
