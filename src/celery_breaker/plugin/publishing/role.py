"""What this process is: one that runs a worker or beat, or one that publishes only, as a web server does."""

from __future__ import annotations

from typing import Any

from celery import signals as celery_signals

__all__ = ["works"]

_works = False


def works() -> bool:
    """Whether this process is a worker, one of its pool processes, or beat."""
    return _works


def _begin(**_: Any) -> None:
    global _works  # noqa: PLW0603 -- a fact of the process
    _works = True


def _end(**_: Any) -> None:
    global _works  # noqa: PLW0603 -- the same
    _works = False


for _signal in (
    celery_signals.worker_init,
    celery_signals.worker_process_init,
    celery_signals.beat_init,
    celery_signals.beat_embedded_init,
):
    _signal.connect(_begin, weak=False, dispatch_uid="celery_breaker.role")
celery_signals.worker_shutdown.connect(_end, weak=False, dispatch_uid="celery_breaker.role")
