"""The tasks of the outage benchmarks, with a breaker and without one, and the service that they call.

The service is a folder. It is down while the file ``down`` is there; each call appends one line to the file ``calls``:
time, ``up`` or ``down``, the task's number, and how many retries the task has spent.
"""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task, shared_task

from celery_breaker import BreakerTask
from celery_breaker.core.events import Change
from celery_breaker.plugin import signals

SETTING = "bench_outage"
"""Setting of the workers' app: ``folder`` of the service, and the seconds of a call when it is ``up`` and ``down``."""

BREAKER = "svc"
GUARDED = "bench.outage_guarded"
NAIVE = "bench.outage_naive"


class ServiceDown(OSError):
    """What the caller of the dead service gets."""


def note(app: Celery, file: str, *words: object) -> None:
    """Append the time and these words in one write, so that lines of several processes never mix."""
    line = " ".join([f"{time.time():.6f}", *map(str, words)]) + "\n"
    os.write(_appending(str(Path(app.conf[SETTING]["folder"], file)), os.getpid()), line.encode())


@functools.cache
def _appending(path: str, _pid: int) -> int:
    """Opened once per process and kept: opening costs more than the line."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def _call(task: Task[Any, Any], number: int) -> None:
    told = task.app.conf[SETTING]
    state = "down" if Path(told["folder"], "down").exists() else "up"
    note(task.app, "calls", state, number, task.request.retries)
    time.sleep(told[state])
    if state == "down":
        raise ServiceDown("the service is down")


_RETRYING: dict[str, Any] = {"bind": True, "autoretry_for": (ServiceDown,), "retry_backoff": True}


@shared_task(name=GUARDED, base=BreakerTask, breaker=BREAKER, ignore_result=True, **_RETRYING)
def guarded(self: Task[Any, Any], number: int) -> None:
    """One call, behind a breaker."""
    _call(self, number)


@shared_task(name=NAIVE, ignore_result=True, **_RETRYING)
def naive(self: Task[Any, Any], number: int) -> None:
    """One call, with retries and nothing else."""
    _call(self, number)


def _moved(sender: Celery, change: Change, **_: object) -> None:
    """The worker that won a transition notes it; ``at`` is the store's time."""
    if SETTING in sender.conf:
        note(sender, "transitions", f"{change.at:.6f}", change.before, change.after, change.trips)


for _signal in (signals.breaker_opened, signals.breaker_half_opened, signals.breaker_closed):
    _signal.connect(_moved, weak=False)
