"""Tasks that do nothing, so that only what surrounds them is measured; each takes a number and ignores it."""

from __future__ import annotations

from celery import shared_task

from celery_breaker import BreakerTask

CLOSED = "bench-closed"
"""The breaker that stays closed."""
DOWN = "bench-down"
"""The breaker that is forced open."""


@shared_task(name="bench.plain", ignore_result=True)
def plain(number: int) -> None:
    """No breaker."""


@shared_task(name="bench.guarded", base=BreakerTask, breaker=CLOSED, ignore_result=True)
def guarded(number: int) -> None:
    """A closed breaker."""


@shared_task(name="bench.guarded_many", base=BreakerTask, breaker=CLOSED + "-{number}", ignore_result=True)
def guarded_many(number: int) -> None:
    """A closed breaker for each number."""


@shared_task(name="bench.parking", base=BreakerTask, breaker=DOWN, ignore_result=True)
def parking(number: int) -> None:
    """A breaker that is forced open: it never runs."""


@shared_task(name="bench.plain_kept")
def plain_kept(number: int) -> None:
    """No breaker; its result is kept."""


@shared_task(name="bench.parking_kept", base=BreakerTask, breaker=DOWN)
def parking_kept(number: int) -> None:
    """A breaker that is forced open; results are kept, and so is the state DEFERRED."""
