"""What this process is: one that runs a worker or beat, or one that publishes only, as a web server does."""

from __future__ import annotations

import os
import weakref
from typing import Any

from celery import signals as celery_signals
from celery.bootsteps import TERMINATE  # type: ignore[attr-defined]

__all__ = ["works"]

_works = False
_workers: weakref.WeakSet[Any] = weakref.WeakSet()
_home = 0
"""The process that has these workers: its pool processes have copies of them."""


def works() -> bool:
    """Whether this process is a worker, one of its pool processes, or beat."""
    return _works or any(_runs(worker) for worker in tuple(_workers))


def _runs(worker: Any) -> bool:
    """Whether it has not ended: a cold shutdown, as of a worker in somebody's tests, sends no signal."""
    blueprint = getattr(worker, "blueprint", None)
    return blueprint is None or blueprint.state != TERMINATE


def _worker_begins(sender: Any = None, **_: Any) -> None:
    global _home  # noqa: PLW0603 -- a fact of the process
    _home = os.getpid()
    _workers.add(sender)


def _worker_ends(sender: Any = None, **_: Any) -> None:
    _workers.discard(sender)


def _begin(**_: Any) -> None:
    global _works  # noqa: PLW0603 -- the same
    if not _workers or os.getpid() != _home:  # else it is the solo pool, of a worker that is known
        _works = True


celery_signals.worker_init.connect(_worker_begins, weak=False, dispatch_uid="celery_breaker.role")
celery_signals.worker_shutdown.connect(_worker_ends, weak=False, dispatch_uid="celery_breaker.role")
for _signal in (celery_signals.worker_process_init, celery_signals.beat_init, celery_signals.beat_embedded_init):
    _signal.connect(_begin, weak=False, dispatch_uid="celery_breaker.role")
