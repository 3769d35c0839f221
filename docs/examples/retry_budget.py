"""How many retries a budget allows, by how busy the service is."""

from __future__ import annotations

from celery_breaker import Policy
from celery_breaker.core.budget import allowance
from celery_breaker.core.windows import Totals

SEARCH = Policy(retry_budget=0.1, failure_window=60)


def retries_a_minute(calls: int) -> int:
    """Retries that are allowed a minute, of a service that is called so often a minute."""
    allowed = allowance(Totals(now=0.0, calls=calls), SEARCH)
    return round(allowed.limit * 60 / allowed.ttl)


if __name__ == "__main__":
    for calls in (10, 100, 1_000, 10_000):
        print(f"{calls:>6} calls a minute: {retries_a_minute(calls)} of them may be retries")
