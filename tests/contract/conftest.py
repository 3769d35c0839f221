"""The stores under test. A new store adds a function to `OPENERS`; the suite calls it through the protocol alone."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from celery_breaker.stores.base import Store
from celery_breaker.stores.memory import MemoryStore
from celery_breaker.stores.redis import RedisStore
from tests.support import properties
from tests.support.servers import RedisServer

__all__ = ["properties"]

_numbers = itertools.count()


def fresh_prefix() -> str:
    """A prefix that no other test uses, so that nothing need be cleared."""
    return f"contract-{os.getpid()}-{next(_numbers)}"


@contextmanager
def fresh_redis(server: RedisServer) -> Iterator[RedisStore]:
    """A store of its own on this server."""
    store = RedisStore(server.url, prefix=fresh_prefix(), timeout=5.0)
    yield store
    store.close()


def open_memory(request: pytest.FixtureRequest) -> Callable[[], Store]:
    store = MemoryStore()
    return lambda: store


def open_redis(request: pytest.FixtureRequest) -> Callable[[], Store]:
    server: RedisServer = request.getfixturevalue("redis_server")
    prefix = fresh_prefix()
    return lambda: RedisStore(server.url, prefix=prefix, timeout=5.0)


OPENERS = {"memory": open_memory, "redis": open_redis}


@pytest.fixture(params=sorted(OPENERS))
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[[], Store]]:
    """`connect()` → the store as another thread or process would open it; the data are the same for each call."""
    opened: list[Store] = []
    opener = OPENERS[request.param](request)

    def connect() -> Store:
        opened.append(opener())
        return opened[-1]

    yield connect
    for store in opened:
        store.close()


@pytest.fixture
def store(connect: Callable[[], Store]) -> Store:
    return connect()
