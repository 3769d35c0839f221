"""The read model, and the desk at which breakers are seen and steered: CLI, remote control, web, admin and metrics."""

from __future__ import annotations

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
