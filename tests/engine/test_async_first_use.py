"""The first use in an event loop: finding the registry and opening the store take a thread, and anyio."""

from __future__ import annotations

import threading

import anyio
import pytest

from celery_breaker.engine import default
from celery_breaker.engine.breaker import Breaker
from celery_breaker.engine.registry import Registry
from celery_breaker.errors import ConfigurationError
from tests.engine.test_async_calls import up
from tests.engine.world import World, fail, provided

pytestmark = pytest.mark.anyio


async def test_the_registry_is_found_in_another_thread(registry: Registry) -> None:
    threads = []

    def provider() -> Registry:
        threads.append(threading.current_thread())
        return registry

    with provided(registry):
        default.provide(provider)
        assert await Breaker("smtp").acall(up) == 42
    assert threads and threading.current_thread() not in threads


async def test_whose_registry_it_is_depends_on_the_thread_that_asks(world: World) -> None:
    """A thread of the pool has no current app."""
    here, elsewhere = world.process("here"), world.process("elsewhere")
    own = threading.current_thread()

    def bound() -> Registry:
        return here

    with provided(elsewhere):
        default.provide(
            lambda: elsewhere, bound=lambda: bound if threading.current_thread() is own else lambda: elsewhere
        )
        await Breaker("smtp").acall(up)
    assert "smtp" in here.cells
    assert "smtp" not in elsewhere.cells


async def test_the_loop_goes_on_while_the_registry_is_made(registry: Registry) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def slow() -> Registry:
        asked.set()
        assert go_on.wait(30)
        return registry

    results = []
    with provided(registry):
        default.provide(slow)
        breaker = Breaker("smtp")

        async def call() -> None:
            results.append(await breaker.acall(up))

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(call)
                while not asked.is_set():
                    await anyio.sleep(0.005)
                assert results == []
                go_on.set()
    assert results == [42] * 20


async def test_a_view_that_was_dropped_for_idleness_is_made_again(registry: Registry, world: World) -> None:
    with provided(registry):
        breaker = Breaker("smtp")
        await breaker.acall(up)
        registry.work()
        world.clock.advance(3600)
        registry.work()
        assert registry.cells == {}
        fail(world.process("w2"), 3)
        assert await breaker.acall(up) == 42
    assert "smtp" in registry.cells


async def test_a_view_that_was_never_read_is_read_before_it_says_no(registry: Registry, world: World) -> None:
    """As after a fork."""
    with provided(registry):
        breaker = Breaker("smtp")
        await breaker.acall(up)
        registry.cell("smtp").known = registry.cell("smtp").passing = False
        world.server.calls.clear()
        assert await breaker.acall(up) == 42
    assert world.server.calls == ["read"]


async def test_a_bad_store_is_refused_at_the_first_call() -> None:
    with pytest.raises(ConfigurationError, match="unknown scheme 'carrier-pigeon'"):
        await Breaker("smtp", store="carrier-pigeon://roof").acall(up)
