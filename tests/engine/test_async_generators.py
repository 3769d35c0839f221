"""`@breaker` on async generator functions, and blocks within async generators, on asyncio and on trio."""

from __future__ import annotations

import gc
import inspect
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import anyio
import pytest

from celery_breaker.core.policy import Policy
from celery_breaker.core.record import State
from celery_breaker.core.windows import Totals
from celery_breaker.engine.breaker import Breaker
from celery_breaker.engine.registry import Registry
from celery_breaker.errors import BreakerOpen
from tests.engine.async_ways import ServiceDown
from tests.engine.world import World, breaker_in, fail

pytestmark = pytest.mark.anyio


def counted(registry: Registry) -> Totals:
    registry.work()
    return registry.totals(registry.cell("smtp"))


async def rows(count: int = 3) -> AsyncIterator[int]:
    for number in range(count):
        await anyio.lowlevel.checkpoint()
        yield number


async def broken_rows() -> AsyncIterator[int]:
    yield 0
    raise ServiceDown


async def test_it_gives_what_the_generator_gives_and_is_one_call(breaker: Breaker, registry: Registry) -> None:
    guarded = breaker(rows)
    assert inspect.isasyncgenfunction(guarded)
    assert [row async for row in guarded(4)] == [0, 1, 2, 3]
    assert [row async for row in guarded(0)] == []
    fail(registry)
    assert counted(registry).calls == 3


async def test_nothing_is_asked_or_counted_before_the_first_item_is(breaker: Breaker, registry: Registry) -> None:
    unused = breaker(rows)()
    later = breaker(rows)()
    fail(registry, 3)
    with pytest.raises(BreakerOpen):
        await anext_of(later)
    await unused.aclose()  # type: ignore[attr-defined]
    assert counted(registry).calls == 0


async def anext_of(iterator: AsyncIterator[int]) -> int:
    return await iterator.__anext__()


async def test_one_that_fails_on_the_way_has_failed(breaker: Breaker, registry: Registry) -> None:
    for _ in range(3):
        with pytest.raises(ServiceDown):
            assert [row async for row in breaker(broken_rows)()] == [0]
    registry.work()
    with pytest.raises(BreakerOpen):
        await anext_of(breaker(rows)())


async def test_one_that_is_closed_early_has_given_what_was_wanted(
    breaker: Breaker, registry: Registry, world: World
) -> None:
    fail(registry, 3)
    world.clock.advance(30)
    closed = []

    @breaker
    async def endless() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
        finally:
            await anyio.lowlevel.checkpoint()
            closed.append(1)

    async with aclosing(endless()) as source:
        assert await source.__anext__() == 1
    assert closed == [1]
    registry.work()
    assert world.stored().state is State.CLOSED


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio warns of it
async def test_one_that_its_consumer_has_dropped_is_closed_with_the_garbage(
    breaker: Breaker, registry: Registry, world: World
) -> None:
    fail(registry, 3)
    world.clock.advance(30)
    async for _ in breaker(rows)():
        break
    gc.collect()
    await anyio.wait_all_tasks_blocked()
    registry.work()
    assert world.stored().state is State.CLOSED


async def test_one_that_fails_to_close_has_failed(breaker: Breaker, registry: Registry) -> None:
    @breaker
    async def source() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            raise ServiceDown

    one = source()
    await one.__anext__()
    with pytest.raises(ServiceDown):
        await one.aclose()
    assert counted(registry).failures == 1


async def test_one_that_is_cancelled_counts_for_nothing_and_frees_its_permit(
    breaker: Breaker, registry: Registry, world: World
) -> None:
    fail(registry, 3)
    world.clock.advance(30)

    @breaker
    async def stuck() -> AsyncIterator[int]:
        yield 1
        await anyio.sleep_forever()

    async def consume() -> None:
        async for _ in stuck():
            pass

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        await anyio.wait_all_tasks_blocked()
        await anyio.sleep(0.05)  # its permit comes from a thread
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    registry.work()
    assert world.stored().state is State.HALF_OPEN
    assert [row async for row in breaker(rows)(1)] == [0]
    registry.work()
    assert world.stored().state is State.CLOSED


async def test_what_is_sent_and_thrown_in_arrives(breaker: Breaker, registry: Registry) -> None:
    @breaker
    async def echo() -> AsyncGenerator[str, str]:
        said = "ready"
        while True:
            try:
                said = yield said
            except ValueError as exc:
                said = f"caught {exc}"

    source = echo()
    assert await source.asend(None) == "ready"  # type: ignore[arg-type]
    assert await source.asend("a") == "a"
    assert await source.athrow(ValueError("b")) == "caught b"
    with pytest.raises(ServiceDown):
        await source.athrow(ServiceDown())
    assert counted(registry).failures == 1


async def test_the_time_that_its_consumer_takes_is_not_the_services(world: World) -> None:
    world.policy = Policy(max_failures=1, slow_call_duration=1.0)
    registry = world.process()
    breaker = breaker_in(registry)

    async def source(seconds: float) -> AsyncIterator[int]:
        for number in range(3):
            world.clock.advance(seconds)
            yield number
        world.clock.advance(seconds)

    async for _ in breaker(source)(0.2):
        world.clock.advance(5.0)
    registry.work()
    assert world.stored().state is State.CLOSED
    async for _ in breaker(source)(0.3):
        pass
    registry.work()
    assert world.stored().state is State.OPEN


async def test_it_makes_a_context_manager_that_is_one_call(breaker: Breaker, registry: Registry) -> None:
    @asynccontextmanager
    @breaker
    async def connection() -> AsyncIterator[str]:
        yield "connected"

    async with connection() as what:
        assert what == "connected"
    with pytest.raises(ServiceDown):
        async with connection():
            raise ServiceDown
    totals = counted(registry)
    assert (totals.calls, totals.failures) == (2, 1)


# --- blocks within generators -----------------------------------------------------------------------------------------


async def in_a_block(breaker: Breaker) -> AsyncGenerator[int, None]:
    async with breaker:
        yield 1
        yield 2


async def test_blocks_of_generators_that_take_turns_end_in_any_order(registry: Registry) -> None:
    one, other = breaker_in(registry, "one"), breaker_in(registry, "other")
    first, second = in_a_block(one), in_a_block(other)
    assert [await first.__anext__(), await second.__anext__()] == [1, 1]
    async with other, one:
        pass
    assert [row async for row in first] + [row async for row in second] == [2, 2]
    fail(registry, name="one")
    fail(registry, name="other")
    assert registry.totals(registry.cell("one")).calls == 3
    assert registry.totals(registry.cell("other")).calls == 3


async def test_a_generators_block_that_is_left_in_another_task_frees_its_permit(
    breaker: Breaker, registry: Registry, world: World
) -> None:
    fail(registry, 3)
    world.clock.advance(30)
    source = in_a_block(breaker)
    assert await source.__anext__() == 1

    async def close() -> None:
        await source.aclose()

    async with anyio.create_task_group() as group:
        group.start_soon(close)
    registry.work()
    assert world.stored().state is State.HALF_OPEN, "a block that is not run to its end is no success"
    async with breaker:
        pass
    registry.work()
    assert world.stored().state is State.CLOSED


async def test_a_generator_leaves_nothing_behind_in_its_consumer(breaker: Breaker, registry: Registry) -> None:
    """As it would if its block were kept in a context variable."""
    source = in_a_block(breaker)
    await source.__anext__()
    with breaker:
        pass
    async with breaker:
        pass
    await source.aclose()
    fail(registry)
    assert counted(registry).calls == 3
