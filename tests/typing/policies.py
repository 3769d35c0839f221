"""`Policy`: options are known by name and by type."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from celery_breaker import BreakerOpen, Policy


def down(exception: BaseException | None, result: object) -> str | None:
    """Classifies."""
    return "failure" if isinstance(exception, OSError) or result == 503 else None


def instead(error: BreakerOpen, to: str, *, copies: int = 1) -> str:
    """Gives a result in place of the task's."""
    return f"{to} waits for {error.name} {copies} times"


def healthy() -> bool:
    """Probes."""
    return True


def steps(attempt: int, first: float) -> float:
    """Grows."""
    return first * attempt


EVERY = Policy(
    max_failures=3,
    failure_rate=0.2,
    failure_window="100 calls",
    consecutive_failures=4,
    slow_call_duration=1.5,
    slow_call_rate=0.5,
    min_workers=2,
    scope="fleet",
    recovery_timeout=10,
    backoff=steps,
    max_recovery_timeout=600,
    jitter=0,
    half_open_calls=2,
    success_threshold=2,
    probe_timeout=5,
    failures=(OSError, "requests.ConnectionError"),
    ignore=(KeyError,),
    classify=down,
    on_open=instead,
    max_deferrals=10,
    max_deferral_age=3600,
    health_check=healthy,
    ramp_start=1,
)


def mistakes() -> None:
    """What a type checker must not let pass; at run time each is a `ConfigurationError`, or a `TypeError`."""
    Policy(3)  # type: ignore[call-arg]
    Policy(max_failurs=3)  # type: ignore[call-arg]
    Policy(max_failures="3")  # type: ignore[arg-type]
    Policy(failures=OSError)  # type: ignore[arg-type]
    Policy(classify=healthy)  # type: ignore[arg-type]
    Policy(health_check=down)  # type: ignore[arg-type]
    EVERY.max_failures = 4  # type: ignore[misc]
