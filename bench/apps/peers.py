"""The same task that does nothing, with each peer's breaker inside it, as its own documentation shows."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from celery import shared_task

REDIS_VARIABLE = "CELERY_BREAKER_BENCH_PEERS_REDIS"


@functools.cache
def _client() -> Any:
    """One client for each process; made at the first task, so after the fork."""
    import redis

    return redis.Redis.from_url(os.environ[REDIS_VARIABLE])


@functools.cache
def _pybreaker() -> Any:
    import pybreaker

    storage = pybreaker.CircuitRedisStorage(pybreaker.STATE_CLOSED, _client(), namespace="bench")
    return pybreaker.CircuitBreaker(state_storage=storage)


@functools.cache
def _interlock() -> Any:
    import interlock
    from interlock.integrations.redis import RedisStorage

    return interlock.CircuitBreaker(name="bench", storage=RedisStorage(_client()))


@functools.cache
def _circuitbreaker() -> Any:
    import circuitbreaker

    return circuitbreaker.CircuitBreaker(name="bench")


@functools.cache
def _purgatory() -> Callable[..., Any]:
    import purgatory

    decorated: Callable[..., Any] = purgatory.SyncCircuitBreakerFactory()("bench")(_nothing)
    return decorated


def _nothing() -> None:
    return None


@shared_task(name="bench.autoretry", ignore_result=True, autoretry_for=(Exception,), retry_backoff=True)
def autoretry(number: int) -> None:
    """Celery's own retries, never needed."""


@shared_task(name="bench.pybreaker", ignore_result=True)
def pybreaker_inside(number: int) -> None:
    """pybreaker with its Redis storage."""
    _pybreaker().call(_nothing)


@shared_task(name="bench.interlock", ignore_result=True)
def interlock_inside(number: int) -> None:
    """interlock-cb with its Redis integration."""
    _interlock().call(_nothing)


@shared_task(name="bench.circuitbreaker", ignore_result=True)
def circuitbreaker_inside(number: int) -> None:
    """circuitbreaker, which each process keeps to itself."""
    _circuitbreaker().call(_nothing)


@shared_task(name="bench.purgatory", ignore_result=True)
def purgatory_inside(number: int) -> None:
    """purgatory in memory, which each process keeps to itself."""
    _purgatory()()
