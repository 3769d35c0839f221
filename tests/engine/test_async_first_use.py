"""The first use in an event loop: finding the registry and opening the store take a thread, and anyio."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import pytest

from celery_breaker.engine import default
from celery_breaker.engine.breaker import Breaker
from celery_breaker.engine.registry import Registry
from celery_breaker.errors import BreakerOpen, ConfigurationError
from tests.engine.async_ways import ServiceDown, down, up
from tests.engine.situations import RAMP
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
                for _ in range(100):
                    group.start_soon(call)
                while not asked.is_set():
                    await anyio.sleep(0.005)
                assert results == []
                assert await anyio.to_thread.run_sync(lambda: "free") == "free", "few threads, and not the program's"
                go_on.set()
    assert results == [42] * 100


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


async def test_the_store_is_never_touched_from_the_thread_of_the_loop(world: World) -> None:
    """From the first use on, in every state, and whatever becomes of the call."""
    registry = world.process("w1", policy_of=lambda name: RAMP, tended=True)
    touched: list[tuple[str, threading.Thread]] = []
    world.server.before = lambda operation: touched.append((operation, threading.current_thread()))

    async def work() -> None:
        await anyio.to_thread.run_sync(registry.work)

    async def call(service: Callable[[], Awaitable[object]]) -> None:
        with suppress(ServiceDown, BreakerOpen):
            async with breaker:
                await service()

    with provided(registry):
        breaker = Breaker("smtp")
        for _ in range(4):
            await call(down)
            await work()
        world.clock.advance(45)
        probing = anyio.Event()

        async def probe() -> None:
            probing.set()
            await anyio.sleep_forever()

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(call, probe)
                await probing.wait()
                group.cancel_scope.cancel()
        await work()
        await call(up)
        await work()
        assert world.stored().recovering is not None, "from here on it takes a place on the ramp"
        for _ in range(10):
            await call(up)
        registry.cell("smtp").known = registry.cell("smtp").passing = False
        await call(up)
    assert {"read", "tally", "swap", "lease", "release"} <= {operation for operation, _ in touched}
    assert threading.current_thread() not in {thread for _, thread in touched}


async def test_a_bad_store_is_refused_at_the_first_call() -> None:
    with pytest.raises(ConfigurationError, match="unknown scheme 'carrier-pigeon'"):
        await Breaker("smtp", store="carrier-pigeon://roof").acall(up)
