"""`Breaker` around a coroutine: what passes, what is counted, and what comes back, on asyncio and on trio."""

from __future__ import annotations

import inspect

import anyio
import pytest

from celery_breaker.core import machine
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import State
from celery_breaker.engine.breaker import Breaker
from celery_breaker.engine.registry import Registry
from celery_breaker.errors import BreakerError, BreakerOpen, ConfigurationError
from tests.engine.async_ways import WAYS, ServiceDown, Way, down, through_with, up
from tests.engine.situations import RAMP, closed_again
from tests.engine.world import World, breaker_in, fail, known

pytestmark = pytest.mark.anyio


@WAYS
async def test_a_call_gives_what_the_service_gives(breaker: Breaker, way: Way) -> None:
    assert await way(breaker, up) == 42


@WAYS
async def test_failures_trip_it_and_then_no_call_is_made(breaker: Breaker, registry: Registry, way: Way) -> None:
    for _ in range(3):
        with pytest.raises(ServiceDown):
            await way(breaker, down)
    registry.work()
    made = []

    async def service() -> None:
        made.append(1)

    with pytest.raises(BreakerOpen, match="breaker 'smtp' is open") as refusal:
        await way(breaker, service)
    assert made == []
    assert refusal.value.retry_after == 45.0, "as the exception asked"


@WAYS
async def test_after_the_interval_one_call_probes_and_its_success_closes(
    breaker: Breaker, registry: Registry, world: World, way: Way
) -> None:
    fail(registry, 3)
    world.clock.advance(30)
    assert await way(breaker, up) == 42
    registry.work()
    assert world.stored().state is State.CLOSED


@WAYS
async def test_a_failed_probe_opens_again(breaker: Breaker, registry: Registry, world: World, way: Way) -> None:
    fail(registry, 3)
    world.clock.advance(30)
    with pytest.raises(ServiceDown):
        await way(breaker, down)
    registry.work()
    assert (world.stored().state, world.stored().trips) == (State.OPEN, 2)


@WAYS
async def test_while_one_task_probes_the_others_are_refused(
    breaker: Breaker, registry: Registry, world: World, way: Way
) -> None:
    fail(registry, 3)
    world.clock.advance(30)
    probing, go_on = anyio.Event(), anyio.Event()

    async def service() -> None:
        probing.set()
        await go_on.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(way, breaker, service)
        await probing.wait()
        for _ in range(3):
            with pytest.raises(BreakerOpen):
                await way(breaker, up)
        go_on.set()
    registry.work()
    assert world.stored().state is State.CLOSED


async def test_tasks_that_are_refused_a_permit_ask_the_store_once_a_moment(
    breaker: Breaker, registry: Registry, world: World
) -> None:
    fail(registry, 3)
    world.clock.advance(30)
    async with breaker:
        world.server.calls.clear()
        for _ in range(100):
            with pytest.raises(BreakerOpen):
                await breaker.acall(up)
    assert world.server.calls == ["lease"]


async def test_a_probe_that_ends_makes_room_for_the_next_at_once(world: World) -> None:
    world.policy = Policy(max_failures=3, failure_rate=0, recovery_timeout=30, success_threshold=2)
    registry = world.process()
    breaker = breaker_in(registry)
    fail(registry, 3)
    world.clock.advance(30)
    async with breaker:
        with pytest.raises(BreakerOpen):
            await breaker.acall(up)
    registry.work()
    assert await breaker.acall(up) == 42
    registry.work()
    assert world.stored().state is State.CLOSED


async def test_closed_and_open_it_asks_nobody(breaker: Breaker, registry: Registry, world: World) -> None:
    world.server.calls.clear()
    for _ in range(100):
        await breaker.acall(up)
    assert world.server.calls == []
    fail(registry, 3)
    world.server.calls.clear()
    for _ in range(100):
        with pytest.raises(BreakerOpen):
            await breaker.acall(up)
    assert world.server.calls == []


async def test_on_the_ramp_places_are_taken_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(RAMP)
    registry = closed_again(world)
    breaker = breaker_in(registry)
    entered: list[object] = []
    enter = registry.enter
    monkeypatch.setattr(registry, "enter", lambda cell: entered.append(cell) or enter(cell))
    world.server.calls.clear()
    admitted = refused = 0
    for _ in range(100):
        try:
            await breaker.acall(up)
            admitted += 1
        except BreakerOpen:
            refused += 1
    assert (admitted, refused) == (20, 80)
    assert world.server.calls == ["lease"] * 11, "two places each time, and one attempt too many"
    assert len(entered) == 11, "the other calls take no thread"


async def test_a_refusal_is_measured(breaker: Breaker, registry: Registry) -> None:
    fail(registry, 3)
    refused = []
    registry.meters.refused = lambda name, retry_after: refused.append(name)  # type: ignore[method-assign]
    with pytest.raises(BreakerOpen):
        await breaker.acall(up)
    assert refused == ["smtp"]


# --- what is counted --------------------------------------------------------------------------------------------------


@WAYS
async def test_successes_and_failures_are_counted(breaker: Breaker, registry: Registry, way: Way) -> None:
    for _ in range(7):
        await way(breaker, up)
    with pytest.raises(ServiceDown):
        await way(breaker, down)
    registry.work()
    totals = registry.totals(registry.cell("smtp"))
    assert (totals.calls, totals.failures) == (8, 1)


@WAYS
async def test_a_slow_call_counts_as_a_failure(world: World, way: Way) -> None:
    world.policy = Policy(max_failures=2, slow_call_duration=1.0)
    registry = world.process()
    breaker = breaker_in(registry)

    async def slow() -> None:
        world.clock.advance(1.5)

    for _ in range(2):
        await way(breaker, slow)
    registry.work()
    assert world.stored().state is State.OPEN


async def test_a_result_may_be_a_failure(world: World) -> None:
    world.policy = Policy(max_failures=2, classify=lambda exception, result: "failure" if result == 42 else None)
    registry = world.process()
    breaker = breaker_in(registry)
    assert [await breaker.acall(up), await breaker(up)()] == [42, 42]
    registry.work()
    assert world.stored().state is State.OPEN


async def test_a_late_success_from_before_the_trip_does_not_close(
    breaker: Breaker, registry: Registry, world: World
) -> None:
    async with breaker:
        fail(registry, 3)
        world.clock.advance(30)
        registry.change(known(registry), lambda record, now: machine.half_opened(record, now=now))
    registry.work()
    assert world.stored().state is State.HALF_OPEN


# --- many at once -----------------------------------------------------------------------------------------------------


async def test_blocks_of_many_tasks_and_of_one_task_end_as_they_began(world: World) -> None:
    """Each with its own outcome: the slow are slow, the failed have failed, however they overlap."""
    world.policy = Policy(max_failures=1000, slow_call_duration=1.0, slow_call_rate=1.0)
    registry = world.process()
    breaker = breaker_in(registry)
    started = anyio.Event()

    async def call(number: int) -> None:
        try:
            async with breaker, breaker:
                if number < 10:
                    await started.wait()  # so these overlap the passing of time
                else:
                    await anyio.lowlevel.checkpoint()
                if number % 2:
                    raise ServiceDown
        except ServiceDown:
            pass

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(call, number)
        await anyio.wait_all_tasks_blocked()
        world.clock.advance(2.0)
        started.set()
    registry.work()
    totals = registry.totals(registry.cell("smtp"))
    assert (totals.calls, totals.failures, totals.slow) == (200, 100, 20)


async def test_a_block_of_a_child_task_is_not_its_parents(breaker: Breaker, registry: Registry) -> None:
    async with breaker, anyio.create_task_group() as group:
        group.start_soon(through_with, breaker, up)
        await anyio.wait_all_tasks_blocked()
    registry.work()
    assert registry.totals(registry.cell("smtp")).calls == 2


async def test_a_block_from_before_the_trip_that_ends_during_a_probe_is_no_probe(
    breaker: Breaker, registry: Registry, world: World
) -> None:
    end_old, end_probe, probing = anyio.Event(), anyio.Event(), anyio.Event()

    async def old() -> None:
        async with breaker:
            await end_old.wait()

    async def probe() -> None:
        async with breaker:
            probing.set()
            await end_probe.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(old)
        await anyio.wait_all_tasks_blocked()
        fail(registry, 3)
        world.clock.advance(30)
        group.start_soon(probe)
        await probing.wait()
        end_old.set()
        await anyio.wait_all_tasks_blocked()
        registry.work()
        assert world.stored().state is State.HALF_OPEN
        end_probe.set()
    registry.work()
    assert world.stored().state is State.CLOSED


async def test_a_block_that_was_never_entered_says_so(breaker: Breaker) -> None:
    with pytest.raises(BreakerError, match="was not entered in this thread"):
        await breaker.__aexit__(None, None, None)


# --- decorating -------------------------------------------------------------------------------------------------------


async def test_a_decorated_coroutine_function_is_one_still(breaker: Breaker) -> None:
    @breaker
    async def fetch(page: int, *, size: int = 10) -> str:
        """Fetches."""
        return f"{page}/{size}"

    assert inspect.iscoroutinefunction(fetch)
    assert (fetch.__name__, fetch.__doc__, str(inspect.signature(fetch))) == (
        "fetch",
        "Fetches.",
        "(page: 'int', *, size: 'int' = 10) -> 'str'",
    )
    assert await fetch(3, size=5) == "3/5"


async def test_methods_and_callable_objects_are_guarded_too(breaker: Breaker, registry: Registry) -> None:
    class Client:
        @breaker
        async def fetch(self) -> Client:
            return self

        async def __call__(self) -> str:
            return "called"

    client = breaker(Client)()
    assert await client.fetch() is client
    assert await breaker(client)() == "called"
    assert await breaker.acall(client) == "called"
    with pytest.raises(ServiceDown):
        await breaker.acall(down)
    registry.work()
    assert registry.totals(registry.cell("smtp")).calls == 5


async def test_acall_of_what_cannot_be_awaited_says_so(breaker: Breaker) -> None:
    with pytest.raises(ConfigurationError, match="which cannot be awaited; use call"):
        await breaker.acall(len, "four")  # type: ignore[arg-type]


async def test_whatever_can_be_awaited_will_do(breaker: Breaker) -> None:
    assert await breaker.acall(lambda number: up(), 1) == 42
