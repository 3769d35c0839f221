"""A window of maintenance each Sunday night, and another around a deploy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from celery import Celery
from celery.schedules import crontab

from celery_breaker import Breaker, BreakerTask

app = Celery("shop", broker="memory://")
app.conf.breakers = {"bank": {"max_failures": 5}}
app.conf.breaker_store = "redis://localhost:6379/0"
app.conf.beat_schedule = {
    "the bank is being worked on": {
        "task": "celery_breaker.open",
        "schedule": crontab(day_of_week="sun", hour="2", minute="0"),
        "args": ("bank",),
        "kwargs": {"reason": "weekly maintenance", "expires": "3h", "by": "beat"},
    },
    "a fresh start each month": {
        "task": "celery_breaker.reset",
        "schedule": crontab(day_of_month="1", hour="0", minute="0"),
        "args": ("bank",),
        "kwargs": {"reason": "monthly"},
    },
}


@app.task(base=BreakerTask, breaker="bank")
def charge(order: int) -> None:
    """Would call the bank."""


def until_morning(morning: datetime) -> None:
    """Force open until a time; whoever is charged meanwhile is charged then."""
    Breaker("bank").maintenance(until=morning, reason="announced by the bank", by="ops")


def deploy(steps: list[Callable[[], None]]) -> None:
    """Force open while the steps run, and for half an hour should this process die on the way."""
    with Breaker("bank").maintenance(until=timedelta(minutes=30), reason="deploy", by="deploy.sh"):
        for step in steps:
            step()


def drill(step: Callable[[], None]) -> None:
    """Let every call through while the service is known to fail, so that no failure trips the breaker."""
    with Breaker("bank").maintenance(until=600, reason="drill", admit=True):
        step()


if __name__ == "__main__":
    until_morning(datetime.now(timezone.utc) + timedelta(hours=8))
