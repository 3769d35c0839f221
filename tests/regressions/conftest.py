"""Defects that other circuit breakers had or have, each as a test that this one would fail if it had it too.

Each runs on every store on which it could differ; on Redis the time is the server's and nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Record, State
from celery_breaker.engine.registry import Registry
from celery_breaker.stores.base import Store
from celery_breaker.stores.memory import MemoryStore
from celery_breaker.stores.redis import RedisStore
from tests.contract.conftest import fresh_prefix
from tests.engine.world import POLICY, SilentReporter
from tests.support import properties
from tests.support.servers import RedisServer

__all__ = ["properties"]

NewProcess = Callable[..., Registry]


@pytest.fixture(params=["memory", "redis"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[[], Store]]:
    """`connect()` → the store as another process would open it; the data are the same for each call."""
    if request.param == "memory":
        memory = MemoryStore()
        yield lambda: memory
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    opener = partial(RedisStore, server.url, prefix=fresh_prefix(), timeout=5.0)
    opened: list[Store] = []

    def connect() -> Store:
        opened.append(opener())
        return opened[-1]

    yield connect
    for store in opened:
        store.close()


@pytest.fixture
def store(connect: Callable[[], Store]) -> Store:
    return connect()


@pytest.fixture
def process(connect: Callable[[], Store]) -> NewProcess:
    """`process("w2", policy=…)` → one more process on the same store, whose reporter works when it is told to."""

    def process(worker: str = "w1", *, policy: Policy = POLICY, **options: Any) -> Registry:
        registry = Registry(
            connect(), policy_of=lambda name: policy, worker=worker, **{"random": lambda: 0.5, **options}
        )
        registry.reporter = SilentReporter()  # type: ignore[assignment]
        registry.work()
        return registry

    return process


def put(store: Store, state: State, *, generation: int, due_in: float = 0.0, **more: Any) -> Record:
    """Write a record of "smtp" over whatever there is, and return it as the store has it."""
    before = store.read(["smtp"]).records["smtp"]
    now = store.now()
    record = Record(
        name="smtp", state=state, generation=generation, since=now, until=now + due_in, **{"trips": 1, **more}
    )
    assert store.swap(record, expected=before.version)
    return store.read(["smtp"]).records["smtp"]
