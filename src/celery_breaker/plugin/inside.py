"""What runs inside the pool: fallbacks, and the judging of outcomes by the user's own code."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.judging import outcome_of
from celery_breaker.engine.registry import Outcome
from celery_breaker.engine.view import Ticket
from celery_breaker.errors import BreakerOpen
from celery_breaker.plugin.aliases import AnyTask
from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.outcomes import cause_of, neutral

__all__ = ["FALLBACK", "TICKETS", "wrap_run"]

logger = logging.getLogger(__name__)

FALLBACK = "celery_breaker_fallback"
"""Key of the request by which the pool learns to run the fallback: [breaker, seconds until the next call]."""

TICKETS = "celery_breaker_tickets"
"""Key of the request in which a task that is judged in the pool carries its admissions."""


def wrap_run(task: AnyTask) -> None:
    """Wrap a task's ``run``, once, so that it knows fallbacks and judges its own outcomes."""
    if getattr(task.run, "__celery_breaker__", False):
        return
    run: Callable[..., Any] = task.run

    @functools.wraps(run)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        request = task.request
        if fallback := request.get(FALLBACK):
            return _fall_back(task, fallback, args, kwargs)
        tickets = request.get(TICKETS)
        if not tickets:
            return run(*args, **kwargs)
        started = time.monotonic()
        try:
            result = run(*args, **kwargs)
        except BaseException as exc:
            _report(task, tickets, exception=exc, result=None, duration=time.monotonic() - started)
            raise
        _report(task, tickets, exception=None, result=result, duration=time.monotonic() - started)
        return result

    guarded.__celery_breaker__ = True  # type: ignore[attr-defined]
    task.run = guarded  # type: ignore[method-assign]


def _fall_back(task: AnyTask, fallback: list[Any], args: Any, kwargs: Any) -> Any:
    name, retry_after = fallback
    on_open = breakers_of(task.app).policies.of(name).on_open
    assert callable(on_open)
    return on_open(BreakerOpen(name, retry_after), *args, **kwargs)


def _report(
    task: AnyTask, tickets: list[list[Any]], *, exception: BaseException | None, result: object, duration: float
) -> None:
    """Hand over the outcome to this process's reporter. Never raises."""
    try:
        registry = breakers_of(task.app).registry
        for name, generation, permit in tickets:
            ticket = Ticket(registry.cell(name), generation=generation, epoch=registry.link.epoch, permit=permit)
            if neutral(exception):
                outcome = Outcome(ticket, Verdict.NEUTRAL)
            else:
                outcome = outcome_of(ticket, exception=cause_of(exception), result=result, duration=duration)
            registry.report(replace(outcome, task=task.name, task_id=str(task.request.id or "")))
            registry.reporter.wake()
    except Exception:
        logger.exception("the outcome of task %s is lost", task.name)
