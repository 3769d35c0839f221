"""A task that needs two services, and one that can do without the second."""

from __future__ import annotations

from celery import Celery

from celery_breaker import Breaker, BreakerOpen, BreakerTask


class CrmError(Exception):
    """The CRM failed."""


class BillingError(Exception):
    """Billing failed."""


app = Celery("shop", broker="redis://localhost:6379/0")
app.conf.breakers = {"crm": {"failures": [CrmError]}, "billing": {"failures": [BillingError]}}

scoring = Breaker("scoring")


@app.task(base=BreakerTask, breaker=["crm", "billing"], autoretry_for=(CrmError, BillingError), retry_backoff=True)
def sync(account: int) -> None:
    """Needs both: runs only if both breakers admit, and each counts its own kind of failure."""


def score_of(account: int) -> int:
    """Would call the scoring service."""
    return 700


@app.task(base=BreakerTask, breaker="crm", autoretry_for=(CrmError,), retry_backoff=True)
def review(account: int) -> int | None:
    """Needs the CRM; without a score it goes on."""
    try:
        return scoring.call(score_of, account)
    except BreakerOpen:
        return None
