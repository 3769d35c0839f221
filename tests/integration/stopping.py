"""A worker that is told to stop as it hands a task to a pool process: the last moment at which it still runs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from celery import shared_task
from celery.signals import task_received
from kombu.asynchronous import get_event_loop

from celery_breaker import BreakerTask
from tests.integration.tasks import audit_line


def _run(folder: str) -> None:
    audit_line(str(Path(folder, "runs")), os.getppid())


@shared_task(name="stopping.early", base=BreakerTask, breaker="svc")
def early(folder: str) -> None:
    """Acknowledged as it begins."""
    _run(folder)


@shared_task(name="stopping.late", base=BreakerTask, breaker="svc", acks_late=True)
def late(folder: str) -> None:
    """Acknowledged at its end."""
    _run(folder)


@shared_task(name="stopping.fails", base=BreakerTask, breaker="svc")
def fails(folder: str) -> None:
    """Fails the first time."""
    _run(folder)
    if len(Path(folder, "runs").read_text().splitlines()) == 1:
        raise OSError("as the test says")


@task_received.connect(weak=False)
def _stop(request: Any, **_: Any) -> None:
    """Stop the worker in the turn of its loop in which it writes the first of these tasks to its process."""
    if request.name.startswith("stopping."):
        folder = Path(request.args[0])
        if not (folder / "stopped").exists():
            (folder / "stopped").touch()
            get_event_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
