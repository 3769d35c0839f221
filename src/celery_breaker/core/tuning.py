"""Options of a policy that an operator sets while the fleet runs: which can be, and what they make of the policy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from celery_breaker.core.policy import ON_OPEN, Policy
from celery_breaker.core.record import Tuning, Value, is_value
from celery_breaker.errors import ConfigurationError, suggestion

__all__ = ["FIXED", "SETTABLE", "Tuning", "Value", "retuned", "tuned", "tuning_words"]

_Reasons: TypeAlias = Mapping[str, str]

FIXED: _Reasons = {
    "scope": "it says where the breaker is kept",
    "failures": "it names classes of your code",
    "ignore": "it names classes of your code",
    "classify": "it is code",
    "health_check": "it is code",
    "defer_failures": "pool processes learn of it as they start",
}
"""Options that only the code or the settings can give, and why."""

SETTABLE = tuple(field.name for field in dataclasses.fields(Policy) if field.name not in FIXED)
"""Options whose values are numbers and words."""

_CHECKED_AT_START = ("pause",)
"""Answers that workers prepare for before they start."""

_WORDS = {
    "on_open": tuple(word for word in ON_OPEN if word not in _CHECKED_AT_START),
    "backoff": ("exponential", "linear", "logarithmic", "constant"),
}
"""Options that may also be code, and the words that can be set."""


def tuned(policy: Policy, tuning: Tuning) -> Policy:
    """The policy with these options in the place of its own.

    Raises:
        ConfigurationError: an option is unknown, cannot be set while the fleet runs, or contradicts another.

    Example:
        >>> tuned(Policy(), (("max_failures", 10),)).max_failures
        10
    """
    for name, value in tuning:
        _check(name, value)
    return dataclasses.replace(policy, **dict(tuning)) if tuning else policy  # type: ignore[arg-type]


def _check(name: str, value: Value) -> None:
    if name in FIXED:
        raise ConfigurationError(f"{name} cannot be set while the fleet runs, for {FIXED[name]}; set it in the app")
    if name not in SETTABLE:
        raise ConfigurationError(f"unknown option {name!r}{suggestion(name, SETTABLE)}")
    if not is_value(value):
        raise ConfigurationError(f"{name} must be a number or a word, or none")
    words = _WORDS.get(name, ())
    if words and value not in words:
        raise ConfigurationError(f"{name}={value!r} cannot be set while the fleet runs{suggestion(str(value), words)}")


def retuned(tuning: Tuning, *, given: Mapping[str, Value] | None = None, dropped: Iterable[str] | None = ()) -> Tuning:
    """What is set once these options are given, and those dropped; ``None`` drops all.

    Raises:
        ConfigurationError: what is to be dropped is no option.

    Example:
        >>> retuned((("jitter", 0.0),), given={"max_failures": 10}, dropped=["jitter"])
        (('max_failures', 10),)
    """
    kept = {} if dropped is None else dict(tuning)
    for name in dropped or ():
        if name not in SETTABLE and name not in kept:
            raise ConfigurationError(f"unknown option {name!r}{suggestion(name, SETTABLE)}")
        kept.pop(name, None)
    return tuple(sorted({**kept, **(given or {})}.items()))


def tuning_words(tuning: Tuning) -> str:
    """What is set, for people.

    Example:
        >>> tuning_words((("failure_window", "100 calls"), ("max_failures", 10)))
        'failure_window=100 calls, max_failures=10'
    """
    return ", ".join(f"{name}={'none' if value is None else value}" for name, value in tuning)
