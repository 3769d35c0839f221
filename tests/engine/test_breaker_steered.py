"""`Breaker` as an operator steers it: forced open, disabled, observing, closed and reset by hand."""

from __future__ import annotations

import pytest

from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, State
from celery_breaker.engine.breaker import Breaker
from celery_breaker.engine.registry import Registry
from celery_breaker.errors import BreakerOpen, ConfigurationError
from tests.engine.services import ServiceDown, down, trip
from tests.engine.world import World, breaker_in


def test_forced_open_refuses_everywhere_until_lifted(breaker: Breaker, registry: Registry, world: World) -> None:
    far = world.process("w2")
    other = breaker_in(far)
    breaker.open(reason="maintenance", by="eve")
    world.clock.advance(1)
    far.work()
    for each in (breaker, other):
        with pytest.raises(BreakerOpen) as refusal:
            each.call(lambda: None)
        assert refusal.value.retry_after is None
        assert each.mode is Mode.FORCED_OPEN
    world.clock.advance(1e6)
    far.work()
    with pytest.raises(BreakerOpen):
        other.call(lambda: None)
    breaker.auto()
    world.clock.advance(1)
    far.work()
    assert other.call(lambda: 5) == 5


def test_an_override_ends_at_its_time_though_nobody_lifts_it(
    breaker: Breaker, registry: Registry, world: World
) -> None:
    breaker.open(expires=60)
    world.clock.advance(59)
    registry.work()
    with pytest.raises(BreakerOpen) as refusal:
        breaker.call(lambda: None)
    assert refusal.value.retry_after == 1.0
    world.clock.advance(1)
    assert breaker.call(lambda: 5) == 5
    assert breaker.mode is Mode.AUTO


@pytest.mark.parametrize("expires", [0, -1, float("nan")])
def test_an_override_that_ends_before_it_begins_is_refused(breaker: Breaker, expires: float) -> None:
    with pytest.raises(ConfigurationError, match="expires"):
        breaker.open(expires=expires)


def test_disabled_admits_everything_and_holds_still(breaker: Breaker, registry: Registry) -> None:
    trip(breaker, registry)
    breaker.disable()
    for _ in range(10):
        with pytest.raises(ServiceDown):
            breaker.call(down)
    registry.work()
    breaker.close()
    trip(breaker, registry, 10)
    assert (breaker.state, breaker.mode) == (State.CLOSED, Mode.DISABLED)


def test_disabled_for_a_while_comes_back_to_its_state(breaker: Breaker, registry: Registry, world: World) -> None:
    breaker.disable(expires=10)
    trip(breaker, registry)
    assert breaker.state is State.CLOSED
    world.clock.advance(10)
    trip(breaker, registry)
    assert breaker.state is State.OPEN


def test_observing_admits_everything_and_shows_what_it_would_have_done(
    breaker: Breaker, registry: Registry, world: World
) -> None:
    breaker.observe()
    trip(breaker, registry)
    assert breaker.state is State.OPEN
    assert breaker.call(lambda: 5) == 5


def test_observing_goes_on_to_half_open_and_closed(breaker: Breaker, registry: Registry, world: World) -> None:
    breaker.observe()
    trip(breaker, registry)
    for _ in range(3):
        world.clock.advance(31)
        breaker.call(lambda: 5)
        registry.work()
    assert breaker.state is State.CLOSED


def test_closing_by_hand_lets_calls_through_at_once(breaker: Breaker, registry: Registry) -> None:
    trip(breaker, registry)
    breaker.close()
    assert breaker.state is State.CLOSED
    assert breaker.call(lambda: 5) == 5


def test_after_closing_by_hand_the_window_is_empty(breaker: Breaker, registry: Registry) -> None:
    trip(breaker, registry)
    breaker.close()
    trip(breaker, registry, 2)
    assert breaker.state is State.CLOSED
    trip(breaker, registry, 1)
    assert breaker.state is State.OPEN


def test_a_reset_starts_the_backoff_afresh(breaker: Breaker, registry: Registry, world: World) -> None:
    trip(breaker, registry)
    breaker.close()
    trip(breaker, registry)
    assert breaker.retry_after == 60.0
    breaker.reset()
    assert (breaker.state, breaker.time_since_fault) == (State.CLOSED, None)
    trip(breaker, registry)
    assert breaker.retry_after == 30.0


def test_what_is_forced_open_is_open(breaker: Breaker) -> None:
    breaker.open(reason="maintenance")
    assert (breaker.state, breaker.mode) == (State.OPEN, Mode.FORCED_OPEN)


def test_failures_while_disabled_do_not_trip_it_afterwards(breaker: Breaker, registry: Registry) -> None:
    breaker.disable()
    for _ in range(10):
        with pytest.raises(ServiceDown):
            breaker.call(down)
    registry.work()
    breaker.auto()
    with pytest.raises(ServiceDown):
        breaker.call(down)
    registry.work()
    assert breaker.state is State.CLOSED


def test_what_only_this_process_hears_of_is_said_and_needs_no_store(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    registry = world.process("w1", policy_of=lambda name: Policy(scope="worker"))
    breaker = breaker_in(registry)
    world.server.down = True
    breaker.open(reason="the GPU is being mended")
    assert "breaker 'smtp' is kept by this process alone; it has scope='worker'" in caplog.text
    with pytest.raises(BreakerOpen):
        breaker.call(lambda: None)
