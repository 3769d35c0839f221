"""What integration tests of breakers share: settings for a short outage, and a look at a breaker from outside."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from celery_breaker import Breaker
from celery_breaker.plugin.app import breakers_of
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from celery import Celery
    from celery.result import AsyncResult

    from tests.support.servers import RedisServer
    from tests.support.service import Service
    from tests.support.workers import Worker

QUICK = {"max_failures": 3, "failure_rate": 0, "recovery_timeout": 1.0, "backoff": "constant", "ramp_start": 200}


def conf(redis: RedisServer, *, breakers: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Settings for a worker whose breakers open quickly and are kept in this Redis, apart from those of other tests."""
    return {
        "imports": ["tests.integration.tasks", "tests.integration.guarded"],
        "breakers": {"svc": QUICK} if breakers is None else dict(breakers),
        "breaker_store": redis.url_for(2),
        "breaker_store_prefix": f"test-{uuid.uuid4().hex[:8]}",
        "breaker_tend_interval": 1.0,
        **more,
    }


REJOIN = 5.0
"""Seconds after its store's return within which a worker shares its breakers again."""


class Seen:
    """A breaker as a test sees it: its shared state, and its parking queue."""

    def __init__(self, app: Celery, name: str) -> None:
        self.breaker = Breaker(name)
        self.name = name
        self._app = app

    @property
    def state(self) -> str:
        return str(self.breaker.state)

    def parked(self) -> int:
        lot = breakers_of(self._app).open_lot()
        try:
            return lot.size(self.name)
        finally:
            lot.close()


def tripped(seen: Seen, service: Service, *, task: Any = None, first: int = 9000) -> None:
    """Take the service down, and send it calls until the breaker is open."""
    from tests.integration import guarded

    service.go_down()
    for number in range(first, first + 3):
        (task or guarded.once).delay(service.folder, number)
    eventually(lambda: seen.state == "open", "the breaker should have tripped", timeout=20)


def breaker_in(app: Celery, name: str) -> Seen:
    """The breaker of this name, in this app."""
    return Seen(app, name)


def logged(worker: Worker, text: str, times: int, *, timeout: float = 20.0) -> None:
    """Wait until the worker has logged this so often."""
    eventually(
        lambda: worker.logs().count(text) >= times,
        lambda: f"{worker.name} should log {text!r} {times} times:\n{worker.tail()}",
        timeout=timeout,
    )


def values(results: Iterable[AsyncResult[Any]], *, timeout: float) -> list[Any]:
    """What the tasks returned, once all of them are done.

    In Celery 5.5, ``get()`` of a result that is there already takes a second where no other is waited for.
    """
    results = list(results)
    eventually(
        lambda: all(result.ready() for result in results),  # one that is stays so, and is not asked for again
        lambda: f"missing: {[result.id for result in results if not result.ready()]}",
        timeout=timeout,
    )
    return [result.get(timeout=timeout) for result in results]
