"""For who has no `celery-types`, nor any extra: what is not Celery's keeps its types all the same."""

from __future__ import annotations

from celery import Celery
from typing_extensions import assert_type

from celery_breaker import Breaker, BreakerTask, Policy, State

app = Celery("typing-bare", broker="memory://")
smtp = Breaker("typing-bare", policy=Policy(max_failures=3), store="memory://")


@app.task(base=BreakerTask, breaker="smtp")
def loose(to: str) -> int:
    """Is whatever Celery makes of it."""
    return len(to)


@app.task(bind=True, base=BreakerTask[[str], int], breaker="smtp")
def signed(self: BreakerTask[[str], int], to: str) -> int:
    """Says its signature, though nobody checks it."""
    return len(to)


@smtp
def guarded(to: str) -> int:
    """Keeps its signature."""
    return len(to)


def calls() -> None:
    """As ever."""
    assert_type(guarded("ann"), int)
    assert_type(smtp.call(guarded, "ann"), int)
    assert_type(smtp.state, State)
    guarded(1)  # type: ignore[arg-type]
    Policy(max_failurs=3)  # type: ignore[call-arg]
