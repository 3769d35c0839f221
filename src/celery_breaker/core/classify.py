"""What an outcome says about the service: success, failure, or nothing."""

from __future__ import annotations

from typing import Any

from celery_breaker.core.policy import Policy
from celery_breaker.core.verdict import ExceptionSpec, Verdict
from celery_breaker.errors import BreakerOpen

__all__ = ["is_slow", "judge", "judge_class", "judge_result", "retry_after_of"]


def _names(cls: type[BaseException]) -> set[str]:
    return {f"{base.__module__}.{base.__qualname__}" for base in cls.__mro__} | {
        base.__qualname__ for base in cls.__mro__ if base.__module__ == "builtins"
    }


def _matches(cls: type[BaseException], spec: ExceptionSpec) -> bool:
    classes = tuple(item for item in spec if isinstance(item, type))
    if classes and issubclass(cls, classes):
        return True
    names = {item for item in spec if isinstance(item, str)}
    return bool(names) and not names.isdisjoint(_names(cls))


def judge_class(cls: type[BaseException], policy: Policy) -> Verdict:
    """The verdict on an exception of this class: ignored ones are neutral, of the rest those in ``failures`` fail.

    An exception that is neither means that the service answered, so it is a success; unless it is no `Exception`, like
    ``KeyboardInterrupt``, ``SystemExit`` and ``GeneratorExit``: those say nothing. Nor does another breaker's refusal.
    """
    if issubclass(cls, BreakerOpen) or _matches(cls, policy.ignore):
        return Verdict.NEUTRAL
    if _matches(cls, policy.failures):
        return Verdict.FAILURE
    return Verdict.SUCCESS if issubclass(cls, Exception) else Verdict.NEUTRAL


def _asked(policy: Policy, exception: BaseException | None, result: object) -> Verdict | None:
    if policy.classify is None:
        return None
    answer = policy.classify(exception, result)
    return None if answer is None else Verdict(answer)


def judge(exception: BaseException, policy: Policy) -> Verdict:
    """The verdict on an exception: ``classify`` first, then `judge_class`; it is not asked of another's refusal.

    Raises:
        Exception: whatever the user's ``classify`` raises; the caller isolates it.
    """
    said = None if isinstance(exception, BreakerOpen) else _asked(policy, exception, None)
    return said or judge_class(type(exception), policy)


def judge_result(result: object, policy: Policy) -> Verdict:
    """The verdict on a result: a success unless ``classify`` says otherwise."""
    return _asked(policy, None, result) or Verdict.SUCCESS


def is_slow(duration: float | None, policy: Policy) -> bool:
    """Whether a call of ``duration`` seconds is slow by the policy."""
    return duration is not None and policy.slow_call_duration is not None and duration > policy.slow_call_duration


def retry_after_of(exception: BaseException | None) -> float | None:
    """Seconds that the service asked for: the exception's ``retry_after``, or its response's ``Retry-After`` header.

    Only the number form of the header counts; the date form would need a clock. An exception that cannot be looked at
    asks for nothing.

    Example:
        >>> exc = OSError(); exc.retry_after = 12
        >>> retry_after_of(exc)
        12.0
    """
    try:
        value: Any = getattr(exception, "retry_after", None)
        if value is None:
            response = getattr(exception, "response", None)
            headers: Any = getattr(response, "headers", None) or getattr(exception, "headers", None)
            value = headers.get("Retry-After")
        seconds = float(value)
    except Exception:  # it is somebody else's code that runs here
        return None
    return seconds if 0 < seconds < float("inf") else None
