"""How a task's end, as the worker's main process sees it, counts."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass

from billiard.exceptions import SoftTimeLimitExceeded as BilliardSoftTimeLimitExceeded
from billiard.exceptions import Terminated
from celery.exceptions import (
    Ignore,
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    TaskRevokedError,
    TimeLimitExceeded,
    WorkerLostError,
)
from celery.utils.serialization import UnpickleableExceptionWrapper

from celery_breaker.core.classify import judge_class
from celery_breaker.core.policy import Policy
from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.judging import UNKNOWN, outcome_of
from celery_breaker.engine.registry import Outcome
from celery_breaker.engine.view import Ticket

__all__ = ["Ended", "lost_process", "outcome_in_main", "outcome_in_pool"]

logger = logging.getLogger(__name__)

_HANGS = (SoftTimeLimitExceeded, BilliardSoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError)
"""A hang counts, whatever ``failures`` lists; only ``ignore`` takes it out."""

_PROCESS_LOST = (TimeLimitExceeded, WorkerLostError, SystemExit, KeyboardInterrupt)
"""Ends that the pool process cannot have reported itself."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a task. ``ours``: it was revoked, cancelled or shut down. ``inside``: the pool judges outcomes."""

    exception: BaseException | None
    runtime: float | None
    result: object = None
    ours: bool = False
    inside: bool = False


def _neutral(exception: BaseException | None) -> bool:
    """Whether an exception is a word between a task and Celery, and says nothing of the service."""
    if isinstance(exception, Retry):
        return exception.exc is None
    return isinstance(exception, (Ignore, Reject, TaskRevokedError, Terminated))


def lost_process(exception: BaseException | None) -> bool:
    """Whether the pool process can have reported nothing: it hung, or is gone."""
    return isinstance(exception, _PROCESS_LOST)


def _cause_of(exception: BaseException | None) -> BaseException | None:
    """The exception that a ``Retry`` was raised for, or the exception itself."""
    if isinstance(exception, Retry) and isinstance(exception.exc, BaseException):
        return exception.exc
    return exception


def outcome_in_main(ticket: Ticket, ended: Ended) -> Outcome | None:
    """The outcome to report, or ``None`` if the pool process has reported it."""
    exception, policy = ended.exception, ticket.cell.policy
    if ended.inside and not lost_process(exception):
        return None
    if _neutral(exception) or (ended.ours and lost_process(exception)):
        return Outcome(ticket, Verdict.NEUTRAL)
    cause = _cause_of(exception)
    if isinstance(cause, (SystemExit, KeyboardInterrupt)):
        cause = WorkerLostError(repr(cause))
    if isinstance(cause, _HANGS):
        verdict = Verdict.NEUTRAL if judge_class(type(cause), policy) is Verdict.NEUTRAL else Verdict.FAILURE
        return Outcome(ticket, verdict, reason=repr(cause)[:200], failed=verdict is Verdict.FAILURE)
    if isinstance(cause, UnpickleableExceptionWrapper):
        return Outcome(ticket, _judge_by_name(cause, policy), reason=f"{cause.exc_module}.{cause.exc_cls_name}")
    return outcome_of(ticket, exception=cause, result=UNKNOWN, duration=ended.runtime)


def outcome_in_pool(ticket: Ticket, ended: Ended) -> Outcome:
    """The outcome as the pool process sees it, where ``classify`` may run."""
    if ticket.cell.policy.classify is None and (outcome := outcome_in_main(ticket, ended)) is not None:
        return outcome
    if _neutral(ended.exception):
        return Outcome(ticket, Verdict.NEUTRAL)
    return outcome_of(ticket, exception=_cause_of(ended.exception), result=ended.result, duration=ended.runtime)


def _judge_by_name(wrapper: UnpickleableExceptionWrapper, policy: Policy) -> Verdict:
    """An exception that could not be pickled arrives as the name of its class."""
    module, name = str(wrapper.exc_module), str(wrapper.exc_cls_name)
    try:
        found: object = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception:  # whatever a module does as it is imported
        found = None
    if isinstance(found, type) and issubclass(found, BaseException):
        return judge_class(found, policy)
    logger.debug("exception class %s.%s cannot be imported here; judged by its name", module, name)
    return judge_class(type(name, (Exception,), {"__module__": module}), policy)
