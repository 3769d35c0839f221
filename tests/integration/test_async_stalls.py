"""While the store hangs, the event loop does not: closed, open and half-open, on asyncio and on trio."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import anyio
import pytest

from celery_breaker.core.record import State
from celery_breaker.engine.default import registry_at
from tests.support.servers import RedisServer
from tests.support.stalls import blocking, while_store_hangs

pytestmark = pytest.mark.alone

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])

HANG = 0.5
"""Seconds. The store's timeout is one, so whoever waits for it on the loop holds that up for about as long."""


@pytest.fixture
def store(make_redis: Callable[[], RedisServer]) -> Iterator[RedisServer]:
    server = make_redis()
    yield server
    registry_at(server.url).close()


@BACKENDS
@pytest.mark.parametrize("state", list(State))
def test_the_loop_is_not_held_up(store: RedisServer, state: State, backend: str) -> None:
    async def run() -> None:
        found = await while_store_hangs(state, store, seconds=2.5)
        print(f"\n{backend}, {state}: {found}")  # noqa: T201 -- for whoever runs it with -s
        assert found.worst < HANG
        if state is State.HALF_OPEN:
            assert found.ends["failed"] >= 1, "no call got the permit"
        if state is State.OPEN:
            assert set(found.ends) == {"refused"}

    anyio.run(run, backend=backend)


@BACKENDS
def test_a_loop_that_is_held_up_is_noticed(store: RedisServer, backend: str) -> None:
    """By the plain `with`, which waits for a half-open permit; else the test above could not fail."""

    async def run() -> None:
        found = await while_store_hangs(State.HALF_OPEN, store, seconds=2.5, call=blocking)
        print(f"\n{backend}: {found}")  # noqa: T201 -- as above
        assert max(found.guarded) > HANG

    anyio.run(run, backend=backend)
