"""Verdicts on outcomes, and the ways in which users say which outcomes count."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Classifier", "ExceptionSpec", "Verdict"]


class Verdict(str, enum.Enum):
    """How an outcome counts.

    Example:
        A policy's ``classify`` may return one, or its value::

            def judge(exc, result):
                return Verdict.NEUTRAL if isinstance(exc, NoSuchCustomer) else None
    """

    SUCCESS = "success"
    """The service answered."""
    FAILURE = "failure"
    """It did not, or not well."""
    NEUTRAL = "neutral"
    """This says nothing of the service."""

    __str__ = str.__str__


ExceptionSpec: TypeAlias = tuple[type[BaseException] | str, ...]
"""Exception classes, or their dotted names where importing them would cost something."""

Classifier: TypeAlias = Callable[[BaseException | None, object], Verdict | str | None]
"""Called with (exception or None, result); returns a `Verdict` or its value, or None for the usual rules."""
