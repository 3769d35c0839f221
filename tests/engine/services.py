"""A service that is down."""

from __future__ import annotations

import contextlib

from celery_breaker.engine.breaker import Breaker
from celery_breaker.engine.registry import Registry


class ServiceDown(Exception):
    pass


def down(*args: object) -> None:
    raise ServiceDown(*args)


def trip(breaker: Breaker, registry: Registry, times: int = 3) -> None:
    for _ in range(times):
        with contextlib.suppress(ServiceDown):
            breaker.call(down)
    registry.work()
