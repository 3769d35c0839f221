"""The read model, and the desk at which breakers are seen and steered: CLI, remote control, web, admin and metrics.

Each name is imported when it is asked for: a process that runs tasks or publishes them, and shows nothing, needs none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celery_breaker.status.desk import Desk
    from celery_breaker.status.model import Status, status_of, urgent_first
    from celery_breaker.status.ports import Catalogue, Fleet, ParkedTask, Waiting, WorkerSeen, Yard

__all__ = [
    "Catalogue",
    "Desk",
    "Fleet",
    "ParkedTask",
    "Status",
    "Waiting",
    "WorkerSeen",
    "Yard",
    "status_of",
    "urgent_first",
]

_HOME = {"Desk": "desk", "Status": "model", "status_of": "model", "urgent_first": "model"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOME.get(name, 'ports')}"), name)
    globals()[name] = found
    return found
