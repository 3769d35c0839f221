"""Fresh calls on the ramp: the fleet's places are shared, and none is made up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.core import machine
from celery_breaker.engine.registry import Registry
from tests.engine.situations import RAMP, closed_again
from tests.engine.world import World


def admitted(registry: Registry, calls: int) -> int:
    cell = registry.cell("smtp")
    return sum(registry.enter(cell) is not None for _ in range(calls))


def test_a_step_admits_half_the_ramp_and_the_next_as_much_again() -> None:
    world = World(RAMP)
    registry = closed_again(world)
    assert not registry.cell("smtp").passing
    assert admitted(registry, 100) == 20
    world.clock.advance(0.25)
    assert admitted(registry, 100) == 0
    world.clock.advance(0.25)
    assert admitted(registry, 100) == 20


def test_once_places_are_gone_nobody_asks_the_store_again_before_some_fall_free() -> None:
    world = World(RAMP)
    registry = closed_again(world)
    admitted(registry, 21)
    before = len(world.server.calls)
    assert admitted(registry, 100) == 0
    assert len(world.server.calls) == before


def test_several_processes_share_them() -> None:
    world = World(RAMP)
    processes = [closed_again(world), *(world.process(f"w{number}", tended=True) for number in range(1, 4))]
    for registry in processes[1:]:
        registry.refresh(["smtp"])
    shares = [admitted(registry, 6) for registry in processes]
    assert sum(shares) <= 20
    assert all(shares)


def test_the_ramp_ends_when_what_was_parked_is_back() -> None:
    world = World(RAMP)
    registry = closed_again(world)
    registry.change(registry.cell("smtp"), lambda record, now: machine.drained(record))
    assert registry.cell("smtp").passing
    assert admitted(registry, 1000) == 1000


def test_without_an_agent_there_is_no_ramp() -> None:
    world = World(RAMP)
    closed_again(world)
    script = world.process("script")
    script.refresh(["smtp"])
    assert script.cell("smtp").passing


def test_cut_off_from_the_store_each_process_has_a_ramp_of_its_own() -> None:
    world = World(RAMP)
    registry = closed_again(world)
    world.server.down = True
    assert admitted(registry, 100) == 20


def test_a_place_that_was_not_used_in_time_is_void() -> None:
    world = World(RAMP)
    registry = closed_again(world)
    assert admitted(registry, 1) == 1
    world.clock.advance(5.0)
    assert not registry.take_place(registry.cell("smtp"))


steps = st.tuples(st.integers(0, 2), st.floats(0, 0.3), st.integers(1, 30))


@given(st.lists(steps, max_size=40))
def test_whoever_calls_whenever_half_a_second_never_admits_more_than_two_steps_worth(
    events: list[tuple[int, float, int]],
) -> None:
    world = World(RAMP)
    processes = [closed_again(world), world.process("w1", tended=True), world.process("w2", tended=True)]
    for registry in processes:
        registry.refresh(["smtp"])
    times: list[float] = []
    for place, pause, calls in events:
        world.clock.advance(pause)
        times += [world.clock()] * admitted(processes[place], calls)
    for start in times:
        assert sum(start <= at < start + 0.5 for at in times) <= 40  # a place may be used as late as it is void
