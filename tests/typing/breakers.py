"""`Breaker` around code: what is guarded keeps its signature."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing_extensions import assert_type

from celery_breaker import Breaker, BreakerOpen, Mode, Policy, State

smtp = Breaker("typing-smtp", policy=Policy(max_failures=3), store="memory://")


def send(to: str, *, copies: int = 1) -> bytes:
    """Stands for what is called."""
    return to.encode() * copies


@smtp
def guarded(to: str, *, copies: int = 1) -> bytes:
    """The same, behind the breaker."""
    return send(to, copies=copies)


class Mailer:
    """Methods are guarded like functions."""

    @smtp
    def send(self, to: str) -> int:
        """Of a class."""
        return len(to)


def calls() -> None:
    """Calls have the result of what they call."""
    assert_type(smtp.call(send, "ann"), bytes)
    assert_type(smtp.call(send, "ann", copies=2), bytes)
    assert_type(guarded("ann", copies=2), bytes)
    assert_type(Mailer().send("ann"), int)
    with smtp as entered:
        assert_type(entered, Breaker)


def states() -> None:
    """What a breaker tells."""
    assert_type(smtp.name, str)
    assert_type(smtp.state, State)
    assert_type(smtp.mode, Mode)
    assert_type(smtp.policy, Policy)
    assert_type(smtp.retry_after, float | None)
    assert_type(smtp.time_since_fault, float | None)
    error = BreakerOpen("smtp", 1.5)
    assert_type(error.name, str)
    assert_type(error.retry_after, float | None)


def mistakes() -> None:
    """What a type checker must not let pass."""
    smtp.call(send, 1)  # type: ignore[arg-type]
    smtp.call(send, "ann", copies="2")  # type: ignore[arg-type]
    guarded(1)  # type: ignore[arg-type]
    Mailer().send(1)  # type: ignore[arg-type]
    Breaker("smtp", Policy())  # type: ignore[call-arg]
    smtp.open("maintenance")  # type: ignore[call-arg]
    smtp.open(expires="1h")  # type: ignore[arg-type]
