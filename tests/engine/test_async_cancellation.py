"""A cancelled call is neither success nor failure and frees its permit, wherever the cancellation finds it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator

import anyio
import pytest

from celery_breaker.core.policy import Policy
from celery_breaker.core.record import State
from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.breaker import Breaker
from celery_breaker.engine.registry import Registry
from celery_breaker.errors import BreakerOpen
from tests.engine.async_ways import WAYS, Way, up
from tests.engine.world import World, breaker_in, fail

pytestmark = pytest.mark.anyio


async def cancelled_in(way: Way, breaker: Breaker) -> None:
    """One call that is under way when its scope is cancelled."""
    async with anyio.create_task_group() as group:
        under_way = anyio.Event()

        async def service() -> None:
            under_way.set()
            await anyio.sleep_forever()

        group.start_soon(way, breaker, service)
        await under_way.wait()
        group.cancel_scope.cancel()


@WAYS
async def test_a_cancelled_call_counts_for_nothing(breaker: Breaker, registry: Registry, way: Way) -> None:
    for _ in range(5):
        await cancelled_in(way, breaker)
    registry.work()
    assert registry.totals(registry.cell("smtp")).calls == 0


@WAYS
async def test_a_cancelled_probe_frees_its_permit(breaker: Breaker, registry: Registry, world: World, way: Way) -> None:
    fail(registry, 3)
    world.clock.advance(30)
    await cancelled_in(way, breaker)
    registry.work()
    assert world.stored().state is State.HALF_OPEN
    assert await way(breaker, up) == 42
    registry.work()
    assert world.stored().state is State.CLOSED


@WAYS
async def test_no_policy_makes_a_failure_of_a_cancellation(world: World, way: Way) -> None:
    asked = []

    def classify(exception: BaseException | None, result: object) -> str | None:
        asked.append(exception)
        return "failure" if exception is not None else None

    world.policy = Policy(max_failures=9, classify=classify, failures=(BaseException,), slow_call_duration=0.001)
    registry = world.process()
    await cancelled_in(way, breaker_in(registry))
    registry.work()
    assert asked == []
    assert registry.totals(registry.cell("smtp")).calls == 0


async def test_a_timeout_around_the_call_counts_for_nothing_and_one_within_it_is_a_failure(
    breaker: Breaker, registry: Registry
) -> None:
    with anyio.move_on_after(0):
        await breaker.acall(anyio.sleep_forever)
    registry.work()
    assert registry.totals(registry.cell("smtp")).calls == 0

    async def with_a_timeout() -> None:
        with anyio.fail_after(0):
            await anyio.sleep_forever()

    with pytest.raises(TimeoutError):
        await breaker.acall(with_a_timeout)
    registry.work()
    assert registry.totals(registry.cell("smtp")).failures == 1


async def test_a_failure_beside_cancelled_siblings_is_a_failure(breaker: Breaker, registry: Registry) -> None:
    async def broken() -> None:
        raise OSError

    async def family() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            group.start_soon(broken)

    with pytest.raises(Exception, match=r"unhandled errors in a TaskGroup|Exceptions from Trio nursery"):
        await breaker.acall(family)
    registry.work()
    assert registry.totals(registry.cell("smtp")).failures == 1


async def test_a_group_of_nothing_but_cancellations_counts_for_nothing(world: World) -> None:
    world.policy = Policy(max_failures=9, failures=(BaseException,))
    registry = world.process()
    breaker = breaker_in(registry)

    class Group(BaseException):
        """As of Python 3.11 and later."""

        def __init__(self, *exceptions: BaseException) -> None:
            self.exceptions = exceptions

    async def service() -> None:
        try:
            await anyio.sleep_forever()
        except BaseException as exc:
            raise Group(exc, Group(exc)) from None

    async def call() -> None:
        with pytest.raises(Group):
            await breaker.acall(service)

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    registry.work()
    assert registry.totals(registry.cell("smtp")).calls == 0


# --- while the permit is awaited --------------------------------------------------------------------------------------


class Gate:
    """Holds up an operation of the store, in whatever thread it is, until it is opened."""

    def __init__(self, world: World, operation: str) -> None:
        self.reached, self._opened = threading.Event(), threading.Event()
        self.passed = threading.Event()

        def before(name: str) -> None:
            if name == operation and not self.passed.is_set():
                self.reached.set()
                assert self._opened.wait(30)
                self.passed.set()

        world.server.before = before

    def open(self) -> None:
        self._opened.set()


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(30):
        while not condition():
            await anyio.sleep(0.005)


@WAYS
async def test_the_loop_goes_on_while_the_store_keeps_the_permit_waiting(
    breaker: Breaker, registry: Registry, world: World, way: Way
) -> None:
    fail(registry, 3)
    world.clock.advance(30)
    gate = Gate(world, "lease")
    results = []

    async def call() -> None:
        results.append(await way(breaker, up))

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await until(gate.reached.is_set)
        assert results == []
        gate.open()
    assert results == [42]


@WAYS
async def test_a_permit_that_is_won_after_the_waiter_was_cancelled_is_given_back(
    breaker: Breaker, registry: Registry, world: World, way: Way
) -> None:
    fail(registry, 3)
    world.clock.advance(30)
    gate, made = Gate(world, "lease"), []

    async def service() -> None:
        made.append(1)

    async with anyio.create_task_group() as group:
        group.start_soon(way, breaker, service)
        await until(gate.reached.is_set)
        group.cancel_scope.cancel()
    assert not gate.passed.is_set(), "the cancelled task waits for nobody"
    gate.open()
    await until(lambda: registry._outcomes)
    assert "release" not in world.server.calls, "it is the reporter that asks the store to"
    registry.work()
    assert (made, world.stored().state) == ([], State.HALF_OPEN)
    assert await way(breaker, up) == 42
    registry.work()
    assert world.stored().state is State.CLOSED


async def test_a_permit_that_was_won_just_as_the_waiter_is_cancelled_is_given_back(
    breaker: Breaker, registry: Registry, world: World
) -> None:
    """The thread has done its part, and the loop has not come to tell the task."""
    fail(registry, 3)
    world.clock.advance(30)
    gate = Gate(world, "lease")
    entered = threading.Event()
    enter = registry.enter

    def enter_and_say_so(*args: object, **kwargs: object) -> object:
        ticket = enter(*args, **kwargs)  # type: ignore[arg-type]
        entered.set()
        return ticket

    registry.enter = enter_and_say_so  # type: ignore[method-assign, assignment]
    async with anyio.create_task_group() as group:
        group.start_soon(breaker.acall, up)
        await until(gate.reached.is_set)
        gate.open()
        assert entered.wait(30)  # this blocks the loop, so that it cannot tell the task
        group.cancel_scope.cancel()
    await until(lambda: registry._outcomes)
    registry.work()
    assert await breaker.acall(up) == 42
    registry.work()
    assert world.stored().state is State.CLOSED


async def test_whoever_was_refused_after_being_cancelled_gives_nothing_back(
    breaker: Breaker, registry: Registry, world: World
) -> None:
    fail(registry, 3)
    world.clock.advance(30)
    async with breaker:
        gate = Gate(world, "lease")
        async with anyio.create_task_group() as group:
            group.start_soon(breaker.acall, up)
            await until(gate.reached.is_set)
            group.cancel_scope.cancel()
        gate.open()
        await until(gate.passed.is_set)
    registry.work()
    assert world.stored().state is State.CLOSED


@pytest.mark.parametrize("permits", [1, 3])
async def test_of_a_crowd_at_a_half_open_breaker_only_as_many_ask_as_there_are_permits(
    world: World, permits: int
) -> None:
    world.policy = Policy(max_failures=3, failure_rate=0, recovery_timeout=30, half_open_calls=permits)
    registry = world.process()
    breaker = breaker_in(registry)
    fail(registry, 3)
    world.clock.advance(30)
    gate = Gate(world, "lease")
    ends: list[object] = []

    async def call() -> None:
        try:
            ends.append(await breaker.acall(up))
        except BreakerOpen:
            ends.append("refused")

    async with anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(call)
        await until(lambda: len(ends) == 200 - permits)
        assert set(ends) == {"refused"}, "they wait for nobody"
        gate.open()
    assert ends[200 - permits :] == [42] * permits


async def test_one_that_was_cancelled_asks_no_more(breaker: Breaker, registry: Registry, world: World) -> None:
    fail(registry, 3)
    world.clock.advance(30)
    gate = Gate(world, "swap")
    async with anyio.create_task_group() as group:
        group.start_soon(breaker.acall, up)
        await until(gate.reached.is_set)
        group.cancel_scope.cancel()
    gate.open()
    await until(lambda: registry._outcomes)
    registry.work()
    assert await breaker.acall(up) == 42


# --- tasks that are collected as garbage ------------------------------------------------------------------------------


class Pause:
    """Waits, on no event loop in particular."""

    def __await__(self) -> Iterator[None]:
        yield


async def pausing() -> None:
    await Pause()


@WAYS
def test_a_coroutine_that_is_dropped_half_way_counts_for_nothing(world: World, way: Way) -> None:
    world.policy = Policy(max_failures=1, failures=(BaseException,))
    registry = world.process()
    call = way(breaker_in(registry), pausing)
    assert isinstance(call, Coroutine)
    call.send(None)
    call.close()
    assert [outcome.verdict for outcome in registry._outcomes] == [Verdict.NEUTRAL]


@WAYS
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_one_that_is_dropped_between_two_tasks_counts_for_nothing(world: World, way: Way) -> None:
    registry = world.process()
    call = way(breaker_in(registry), pausing)
    assert isinstance(call, Coroutine)
    call.send(None)
    asyncio.get_running_loop().call_soon(call.close)
    await until(lambda: registry._outcomes)
    assert [outcome.verdict for outcome in registry._outcomes] == [Verdict.NEUTRAL]


async def exiting() -> None:
    try:
        await Pause()
    except GeneratorExit:
        raise SystemExit from None


@WAYS
def test_one_that_ends_otherwise_outside_of_any_loop_is_judged(world: World, way: Way) -> None:
    world.policy = Policy(max_failures=1, failures=(SystemExit,))
    registry = world.process()
    call = way(breaker_in(registry), exiting)
    assert isinstance(call, Coroutine)
    call.send(None)
    with pytest.raises(SystemExit):
        call.close()
    assert [outcome.verdict for outcome in registry._outcomes] == [Verdict.FAILURE]
