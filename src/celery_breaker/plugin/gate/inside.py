"""What runs inside the pool: fallbacks, and the judging of outcomes that cannot wait until Celery has recorded them."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from celery.exceptions import Retry

from celery_breaker.engine.registry import Outcome
from celery_breaker.engine.view import Cell, Ticket
from celery_breaker.errors import BreakerOpen
from celery_breaker.plugin.aliases import AnyTask
from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.gate.failures import FailureDeferred, first_failed
from celery_breaker.plugin.gate.outcomes import Ended, outcome_in_pool

__all__ = ["FALLBACK", "TICKETS", "charge_of", "wrap_run"]

logger = logging.getLogger(__name__)

FALLBACK = "celery_breaker_fallback"
"""Key of the request by which the pool learns to run the fallback: [breaker, seconds until the next call]."""

TICKETS = "celery_breaker_tickets"
"""Key of the request in which a task that is judged in the pool carries what `charge_of` says."""


def charge_of(tickets: Sequence[Ticket], *, reports: bool, defers: Sequence[str]) -> dict[str, Any]:
    """What the pool is to do: judge the outcome for these tickets.

    Args:
        reports: the pool's verdicts are those that count, and it reports them.
        defers: names of the breakers by whose failures the task is set aside.
    """
    return {
        "tickets": [[ticket.cell.name, ticket.generation, ticket.permit] for ticket in tickets],
        "reports": reports,
        "defers": list(defers),
    }


def wrap_run(task: AnyTask) -> None:
    """Wrap a task's ``run``, once, so that it knows fallbacks and judges its own outcomes."""
    if getattr(task.run, "__celery_breaker__", False):
        return
    run: Callable[..., Any] = task.run

    @functools.wraps(run)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        request = task.request
        if fallback := _take(request, FALLBACK):
            return _fall_back(task, fallback, args, kwargs)
        charge = _take(request, TICKETS)
        if not charge:
            return run(*args, **kwargs)
        started = time.monotonic()
        try:
            result = run(*args, **kwargs)
        except BaseException as exc:
            _judge(task, charge, Ended(exc, runtime=time.monotonic() - started))
            raise
        _judge(task, charge, Ended(None, runtime=time.monotonic() - started, result=result))
        return result

    guarded.__celery_breaker__ = True  # type: ignore[attr-defined]
    task.run = guarded  # type: ignore[method-assign]


def _take(request: Any, key: str) -> Any:
    """A word of the main process to this very run: a run within it must not find it, nor a retry carry it along."""
    word = request.get(key)
    if word is not None:
        setattr(request, key, None)
        if request.headers:
            request.headers.pop(key, None)
    return word


def _fall_back(task: AnyTask, fallback: list[Any], args: Any, kwargs: Any) -> Any:
    name, retry_after = fallback
    on_open = breakers_of(task.app).policies.of(name).on_open
    assert callable(on_open)
    return on_open(BreakerOpen(name, retry_after), *args, **kwargs)


def _judge(task: AnyTask, charge: Mapping[str, Any], ended: Ended) -> None:
    """Hand over the outcome to this process's reporter, unless the main process is told by what is raised.

    Raises:
        FailureDeferred: the task failed, and is to be set aside instead.
    """
    try:
        outcomes = _outcomes(task, charge, ended)
        chosen = first_failed(outcomes, charge["defers"]) if _deferrable(ended.exception) else None
        if chosen is None and charge["reports"]:
            _report(task, outcomes)
    except Exception:
        logger.exception("the outcome of task %s is lost", task.name)
        return
    if chosen is not None:
        logger.debug("task %s[%s] failed, and is set aside", task.name, task.request.id, exc_info=ended.exception)
        raise FailureDeferred.of(outcomes, chosen)


def _outcomes(task: AnyTask, charge: Mapping[str, Any], ended: Ended) -> list[Outcome]:
    breakers = breakers_of(task.app)
    registry, outcomes = breakers.registry, []
    for name, generation, permit in charge["tickets"]:
        if charge["reports"]:
            cell = registry.cell(name)
        else:  # nobody here follows it, or would ever drop it
            cell = registry.cells.get(name) or Cell(name, breakers.policies.of(name), at=0.0)
        ticket = Ticket(cell, generation=generation, epoch=registry.link.epoch, permit=permit)
        outcomes.append(outcome_in_pool(ticket, ended))
    return outcomes


def _deferrable(exception: BaseException | None) -> bool:
    """Whether Celery would make an end of it: a retry has been sent already, and an exit takes the process along."""
    return exception is None or (isinstance(exception, Exception) and not isinstance(exception, (Retry, MemoryError)))


def _report(task: AnyTask, outcomes: Sequence[Outcome]) -> None:
    registry = breakers_of(task.app).registry
    for outcome in outcomes:
        registry.report(replace(outcome, task=task.name, task_id=str(task.request.id or "")))
    registry.reporter.wake()
