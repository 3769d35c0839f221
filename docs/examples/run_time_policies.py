"""Make a breaker more tolerant for the time of an incident, and take that back."""

from __future__ import annotations

from celery import Celery

from celery_breaker import BreakerTask
from celery_breaker.plugin.app import breakers_of
from celery_breaker.status import Desk, actions

app = Celery("shop", broker="memory://")
app.conf.breakers = {"bank": {"max_failures": 5}}
app.conf.breaker_store = "redis://localhost:6379/0"


@app.task(base=BreakerTask, breaker="bank")
def charge(order: int) -> None:
    """Would call the bank."""


def tolerate(desk: Desk, failures: int) -> int:
    """Let so many calls fail before the breaker trips; what it goes by then."""
    desk.tune("bank", {"max_failures": failures}, by="runbook 7")
    return desk.policy_of("bank").max_failures


def as_the_app_says(desk: Desk) -> int:
    """Take back all that was set; what it goes by then."""
    desk.act("bank", actions.untune([], by="runbook 7"))
    return desk.policy_of("bank").max_failures


if __name__ == "__main__":
    desk = breakers_of(app).desk
    print(tolerate(desk, 20))
    print(as_the_app_says(desk))
