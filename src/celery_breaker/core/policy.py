"""The policy of a breaker: every option, validated once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celery_breaker.core.backoff import Backoff, check_backoff
from celery_breaker.core.verdict import Classifier, ExceptionSpec
from celery_breaker.core.windows import Window, parse_window
from celery_breaker.errors import ConfigurationError, suggestion

__all__ = ["DEFAULT_PROBE_TIMEOUT", "ON_OPEN", "Policy"]

ON_OPEN = ("park", "retry", "pause", "fail")
"""Named answers to a call that is not admitted; a callable or its dotted path is the other kind."""

DEFAULT_PROBE_TIMEOUT = 60.0
"""Seconds a permit is leased when neither the policy nor a time limit says."""

_COUNTS = ("max_failures", "min_workers", "half_open_calls", "success_threshold")
_OPTIONAL_COUNTS = ("consecutive_failures", "max_deferrals")
_RATES = ("failure_rate", "jitter")
_SECONDS = ("recovery_timeout", "max_recovery_timeout")
_SWITCHES = ("admit_ramp", "defer_failures")
_OPTIONAL_SECONDS = ("slow_call_duration", "probe_timeout", "max_deferral_age")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When a breaker trips, how long it stays open, how it closes, and what becomes of a call meanwhile.

    Attributes:
        max_failures: failures in the window needed to trip; also the least number of calls.
        failure_rate: share of the window's calls (0 to 1) that failures must make up; 0 counts failures alone.
        failure_window: seconds, or ``"100 calls"``.
        consecutive_failures: trip on this many in a row, whatever the window says.
        slow_call_duration: seconds; a slower call is slow.
        slow_call_rate: trip when this share of calls is slow; ``None`` counts slow calls as failures.
        min_workers: distinct workers that must have seen failures before the fleet trips.
        scope: ``"fleet"`` shares the state, ``"worker"`` never does.
        recovery_timeout: seconds of the first open interval.
        backoff: growth of the open interval: exponential, linear, logarithmic, constant, or a callable
            of (attempt from 1, first interval) → seconds.
        max_recovery_timeout: longest open interval, in seconds.
        jitter: share of the open interval (0 to 1) by which it is spread at random.
        half_open_calls: permits at once while half-open.
        success_threshold: successes needed to close.
        probe_timeout: seconds a permit is leased; ``None`` is the task's hard time limit, else 60.
        failures: exceptions (classes or dotted names) that count.
        ignore: exceptions that say nothing about the service.
        classify: callable of (exception, result) → ``"failure"``, ``"success"``, ``"neutral"`` or ``None``.
        on_open: ``"park"``, ``"retry"``, ``"pause"``, ``"fail"``, or a callable of (exception, \\*args,
            \\*\\*kwargs), or its dotted path; its return value is the task's result.
        max_deferrals: deferrals after which a task fails with `BreakerOpen`.
        max_deferral_age: seconds since the first deferral after which it fails.
        defer_failures: a failure that counts sets its own task aside too, instead of failing it; of tasks alone.
        retry_budget: share of the window's calls (0 to 1) that tasks' own retries may make up; those past it are
            parked. ``None`` leaves them alone.
        health_check: callable (or dotted path) run by the agent as the probe; falsy or an exception is a failure.
        ramp_start: releases per second right after closing; doubles while healthy.
        admit_ramp: after a close, fresh calls too are admitted by the ramp, half of it; the rest is not admitted.

    Raises:
        ConfigurationError: an option is out of range or contradicts another.

    Example:
        >>> Policy(max_failures=3, recovery_timeout=10).failure_rate
        0.5
    """

    max_failures: int = 5
    failure_rate: float = 0.5
    failure_window: float | str = 60.0
    consecutive_failures: int | None = None
    slow_call_duration: float | None = None
    slow_call_rate: float | None = None
    min_workers: int = 1
    scope: str = "fleet"
    recovery_timeout: float = 30.0
    backoff: Backoff = "exponential"
    max_recovery_timeout: float = 900.0
    jitter: float = 0.1
    half_open_calls: int = 1
    success_threshold: int = 1
    probe_timeout: float | None = None
    failures: ExceptionSpec = (Exception,)
    ignore: ExceptionSpec = ()
    classify: Classifier | None = None
    on_open: str | Callable[..., object] = "park"
    max_deferrals: int | None = None
    max_deferral_age: float | None = None
    defer_failures: bool = False
    retry_budget: float | None = None
    health_check: str | Callable[[], object] | None = None
    ramp_start: float = 10.0
    admit_ramp: bool = False

    if not TYPE_CHECKING:  # the type checker knows the options without

        def __new__(cls, **options: object) -> Policy:
            cls._check_known(options)
            return object.__new__(cls)

    def __post_init__(self) -> None:
        for name in ("failures", "ignore"):
            object.__setattr__(self, name, _exception_spec(name, getattr(self, name)))
        for name in (*_COUNTS, *_OPTIONAL_COUNTS):
            _check_count(name, getattr(self, name), optional=name in _OPTIONAL_COUNTS)
        for name in (*_SECONDS, *_OPTIONAL_SECONDS):
            _check_seconds(name, getattr(self, name), optional=name in _OPTIONAL_SECONDS)
        for name in _RATES:
            _check_rate(name, getattr(self, name))
        _check_seconds("ramp_start", self.ramp_start, optional=False)
        if self.slow_call_rate is not None:
            _check_rate("slow_call_rate", self.slow_call_rate)
            if self.slow_call_rate == 0:
                raise ConfigurationError("slow_call_rate=0 would trip on any call; leave it out or set a share above 0")
        if self.retry_budget is not None:
            _check_rate("retry_budget", self.retry_budget)
        check_backoff(self.backoff)
        self._check_words()
        self._check_contradictions()

    def _check_words(self) -> None:
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise ConfigurationError(f"{name}={getattr(self, name)!r} must be True or False")
        if self.scope not in ("fleet", "worker"):
            raise ConfigurationError(f"scope={self.scope!r} is unknown; use 'fleet' or 'worker'")
        if isinstance(self.on_open, str):
            if self.on_open not in ON_OPEN and "." not in self.on_open:
                raise ConfigurationError(f"on_open={self.on_open!r} is unknown{suggestion(self.on_open, ON_OPEN)}")
        elif not callable(self.on_open):
            raise ConfigurationError(f"on_open={self.on_open!r} is neither one of {', '.join(ON_OPEN)} nor callable")
        if self.classify is not None and not callable(self.classify):
            raise ConfigurationError(f"classify={self.classify!r} is not callable")
        check = self.health_check
        if check is not None and not callable(check) and not (isinstance(check, str) and "." in check):
            raise ConfigurationError(f"health_check={check!r} is neither callable nor a dotted path")

    def _check_contradictions(self) -> None:
        if self.max_recovery_timeout < self.recovery_timeout:
            raise ConfigurationError(
                f"max_recovery_timeout={self.max_recovery_timeout:g} is below "
                f"recovery_timeout={self.recovery_timeout:g}; raise the one or lower the other"
            )
        if self.slow_call_rate is not None and self.slow_call_duration is None:
            raise ConfigurationError(
                "slow_call_rate needs slow_call_duration; set it to the seconds that make a call slow"
            )
        window = self.window
        if window.by_calls and window.span < self.max_failures:
            raise ConfigurationError(
                f"failure_window={self.failure_window!r} holds fewer calls than max_failures={self.max_failures}, "
                "so it could never trip; widen the window"
            )
        if self.on_open == "pause" and self.admit_ramp:
            raise ConfigurationError(
                "on_open='pause' leaves tasks in their queue, and admit_ramp would park them; drop one of the two"
            )
        if window.by_calls and self.retry_budget is not None:
            raise ConfigurationError(
                f"retry_budget needs a window of time, but failure_window={self.failure_window!r} counts calls; "
                "give failure_window in seconds"
            )
        if self.scope == "worker" and self.min_workers > 1:
            raise ConfigurationError("scope='worker' never sees a second worker; drop min_workers")

    @property
    def probe_lease(self) -> float:
        """Seconds that a permit is leased, and a health check may take, where no task's time limit says otherwise."""
        return self.probe_timeout or DEFAULT_PROBE_TIMEOUT

    @property
    def parks(self) -> bool:
        """Whether tasks may be parked for this breaker, be it because it is open or for another reason."""
        return self.on_open in ("park", "pause") or self.defer_failures or self.retry_budget is not None

    @property
    def window(self) -> Window:
        """The failure window, parsed."""
        return parse_window(self.failure_window)

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> Policy:
        """A policy from a mapping; an unknown option names the nearest known one.

        Raises:
            ConfigurationError: an option is unknown or out of range.

        Example:
            >>> Policy.from_options({"max_failure": 3})
            Traceback (most recent call last):
            ...
            celery_breaker.errors.ConfigurationError: unknown option 'max_failure'; did you mean 'max_failures'?
        """
        cls._check_known(options)
        return cls(**options)  # type: ignore[arg-type]

    @classmethod
    def _check_known(cls, options: Mapping[str, object]) -> None:
        known = tuple(field.name for field in dataclasses.fields(cls))
        for option in options:
            if option not in known:
                raise ConfigurationError(f"unknown option {option!r}{suggestion(option, known)}")

    def differences(self, other: Policy) -> tuple[str, ...]:
        """Names of the options in which two policies differ."""
        names = (field.name for field in dataclasses.fields(self))
        return tuple(name for name in names if getattr(self, name) != getattr(other, name))


def _exception_spec(name: str, value: object) -> ExceptionSpec:
    items: Iterable[Any] = value if isinstance(value, Iterable) and not isinstance(value, (type, str)) else (value,)
    spec = tuple(items)
    for item in spec:
        if not (isinstance(item, str) or (isinstance(item, type) and issubclass(item, BaseException))):
            raise ConfigurationError(f"{name}={value!r} must list exception classes or their dotted names")
    return spec


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_count(name: str, value: object, *, optional: bool) -> None:
    if optional and value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"{name}={value!r} must be a whole number of at least 1")


def _check_seconds(name: str, value: object, *, optional: bool) -> None:
    if optional and value is None:
        return
    if not _is_number(value) or not 0 < value < float("inf"):  # type: ignore[operator]
        raise ConfigurationError(f"{name}={value!r} must be a number above 0")


def _check_rate(name: str, value: object) -> None:
    if not _is_number(value) or not 0 <= value <= 1:  # type: ignore[operator]
        raise ConfigurationError(f"{name}={value!r} must be between 0 and 1")
