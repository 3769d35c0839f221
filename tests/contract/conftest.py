"""What tests of single stores share: a part of a server that no other test uses."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager

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
