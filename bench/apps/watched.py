"""Workers that note when the outcome which trips a breaker is handed over, and when their own gate shuts."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import shared_task
from celery.signals import worker_ready

from celery_breaker import BreakerTask
from celery_breaker.core.record import Record
from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.registry import Outcome
from celery_breaker.engine.view import Cell
from celery_breaker.plugin.app import breakers_of
from tests.integration.tasks import audit_line

NOTES_VARIABLE = "CELERY_BREAKER_BENCH_NOTES"
TEMPLATE = "bench-{number}"


@shared_task(
    name="bench.watched",
    base=BreakerTask,
    breaker=TEMPLATE,
    breaker_options={"max_failures": 1, "failure_rate": 0, "recovery_timeout": 600},
    ignore_result=True,
)
def watched(number: int, *, down: bool = False) -> None:
    """One call of service `number`, which may be down; each has a breaker of its own."""
    if down:
        raise ConnectionError("down")


@worker_ready.connect(weak=False)
def _watch(sender: Any, **_: Any) -> None:
    """Note each event with this machine's monotonic clock, which all its processes share."""
    path = os.environ.get(NOTES_VARIABLE)
    if path is None:
        return
    registry = breakers_of(sender.app).registry
    report = registry.report

    def reported(outcome: Outcome) -> None:
        if outcome.verdict is Verdict.FAILURE:
            audit_line(path, "reported", outcome.ticket.cell.name, time.monotonic_ns())
        report(outcome)

    def seen(cell: Cell, before: Record) -> None:
        now = time.monotonic_ns()
        if cell.record.generation != before.generation:
            audit_line(path, "passing" if cell.passing else "shut", cell.name, now)

    registry.report = reported  # type: ignore[method-assign]
    registry.watchers.insert(0, seen)
