"""What each of many processes does while they all fail at once."""

from __future__ import annotations

import logging
from contextlib import suppress

from celery_breaker import Breaker, Policy
from celery_breaker.core.events import Change
from celery_breaker.core.record import State
from celery_breaker.engine.default import registry_at
from celery_breaker.stores.base import Store


def fail(store: Store, breakers: int, calls: int, max_failures: int) -> int:
    """Make this many failing calls through each breaker, report them, and say how many of the trips were won here."""
    logging.getLogger("celery_breaker").setLevel(logging.ERROR)  # each trip is a warning
    registry = registry_at(store)
    won: list[Change] = []
    registry.listeners.append(won.append)
    policy = Policy(max_failures=max_failures, failure_rate=0.0, failure_window=3600.0, recovery_timeout=600.0)
    for number in range(breakers):
        breaker = Breaker(name(number), policy=policy, store=store)
        for _ in range(calls):
            with suppress(ConnectionError):
                breaker.call(_down)
    registry.close()
    return sum(change.after is State.OPEN for change in won)


def name(number: int) -> str:
    """Of the breakers that all processes share."""
    return f"service {number}"


def _down() -> None:
    raise ConnectionError
