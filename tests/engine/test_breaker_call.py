"""`Breaker` around a call: what passes, what is counted, and what comes back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest

from celery_breaker.core import machine
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, State
from celery_breaker.engine.breaker import Breaker
from celery_breaker.engine.registry import Registry
from celery_breaker.errors import BreakerOpen, ConfigurationError
from tests.engine.services import ServiceDown, down, trip
from tests.engine.world import POLICY, World, breaker_in, known, provided


def through_call(breaker: Breaker, service: Callable[[], object]) -> object:
    return breaker.call(service)


def through_with(breaker: Breaker, service: Callable[[], object]) -> object:
    with breaker:
        return service()


def through_decorator(breaker: Breaker, service: Callable[[], object]) -> object:
    return breaker(service)()


WAYS = pytest.mark.parametrize("way", [through_call, through_with, through_decorator])


@WAYS
def test_a_call_gives_what_the_service_gives(breaker: Breaker, way: Callable[..., object]) -> None:
    assert way(breaker, lambda: 42) == 42


@WAYS
def test_a_call_raises_what_the_service_raises(breaker: Breaker, way: Callable[..., object]) -> None:
    with pytest.raises(ServiceDown):
        way(breaker, down)


def test_arguments_are_handed_on(breaker: Breaker) -> None:
    assert breaker.call(lambda *args, **kwargs: (args, kwargs), 1, service=2) == ((1,), {"service": 2})
    assert breaker(divmod)(7, 2) == (3, 1)


def test_a_decorated_function_keeps_its_name(breaker: Breaker) -> None:
    @breaker
    def fetch() -> None:
        """Fetches."""

    assert (fetch.__name__, fetch.__doc__) == ("fetch", "Fetches.")


@WAYS
def test_failures_trip_it_and_then_no_call_is_made(
    breaker: Breaker, registry: Registry, way: Callable[..., object]
) -> None:
    for _ in range(3):
        with pytest.raises(ServiceDown):
            way(breaker, down)
    registry.work()
    made = []
    with pytest.raises(BreakerOpen, match=r"breaker 'smtp' is open, next call in 30\.0 s") as refusal:
        way(breaker, lambda: made.append(1))
    assert made == []
    assert (refusal.value.name, refusal.value.retry_after) == ("smtp", 30.0)
    assert breaker.state is State.OPEN


def test_six_concurrent_failures_trip_a_threshold_of_three(breaker: Breaker, registry: Registry) -> None:
    gate = threading.Barrier(6)

    def fail_together() -> None:
        gate.wait(10)
        raise ServiceDown

    def call() -> None:
        with contextlib.suppress(ServiceDown):
            breaker.call(fail_together)

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    registry.work()
    assert breaker.state is State.OPEN


def test_a_refusal_is_no_failure(breaker: Breaker, registry: Registry, world: World) -> None:
    trip(breaker, registry)
    before = world.stored()
    for _ in range(10):
        with pytest.raises(BreakerOpen):
            breaker.call(down)
    registry.work()
    assert world.stored() == before


def test_after_the_interval_one_call_probes_and_its_success_closes(
    breaker: Breaker, registry: Registry, world: World
) -> None:
    trip(breaker, registry)
    world.clock.advance(30)
    assert breaker.call(lambda: 5) == 5
    registry.work()
    assert breaker.state is State.CLOSED
    assert breaker.call(lambda: 6) == 6


def test_a_failed_probe_rearms_the_open_interval(breaker: Breaker, registry: Registry, world: World) -> None:
    trip(breaker, registry)
    world.clock.advance(30)
    with pytest.raises(ServiceDown):
        breaker.call(down)
    registry.work()
    with pytest.raises(BreakerOpen) as refusal:
        breaker.call(down)
    assert refusal.value.retry_after == 60.0


def test_while_a_probe_is_under_way_other_calls_are_refused(breaker: Breaker, registry: Registry, world: World) -> None:
    trip(breaker, registry)
    world.clock.advance(30)
    refused = []

    def probe() -> None:
        try:
            breaker.call(lambda: None)
        except BreakerOpen:
            refused.append(1)

    breaker.call(probe)
    assert refused == [1]


def test_a_cancelled_probe_is_no_success_and_frees_the_permit(
    breaker: Breaker, registry: Registry, world: World
) -> None:
    trip(breaker, registry)
    world.clock.advance(30)

    def cancelled() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        breaker.call(cancelled)
    registry.work()
    assert breaker.state is State.HALF_OPEN
    assert breaker.call(lambda: 1) == 1
    registry.work()
    assert breaker.state is State.CLOSED


def test_a_late_success_from_before_the_trip_does_not_close(breaker: Breaker, registry: Registry, world: World) -> None:
    with breaker:
        trip(breaker, registry)
        world.clock.advance(30)
        registry.change(known(registry), lambda record, now: machine.half_opened(record, now=now))
    registry.work()
    assert breaker.state is State.HALF_OPEN


def test_a_late_failure_does_not_open_again(breaker: Breaker, registry: Registry, world: World) -> None:
    with contextlib.suppress(ServiceDown), breaker:
        trip(breaker, registry)
        world.clock.advance(30)
        breaker.call(lambda: 1)
        registry.work()
        assert breaker.state is State.CLOSED
        raise ServiceDown
    for _ in range(2):
        with contextlib.suppress(ServiceDown):
            breaker.call(down)
    registry.work()
    assert breaker.state is State.CLOSED, "two failures of this generation are not three"


def test_with_blocks_nest(registry: Registry) -> None:
    outer, inner = breaker_in(registry, "outer"), breaker_in(registry, "inner")
    for _ in range(3):
        with contextlib.suppress(ServiceDown), outer:
            with contextlib.suppress(ServiceDown), inner:
                raise ServiceDown
            with outer:
                pass
    registry.work()
    assert (outer.state, inner.state) == (State.CLOSED, State.OPEN)


def test_a_breaker_is_known_by_its_name(registry: Registry) -> None:
    one, other = breaker_in(registry), breaker_in(registry)
    trip(one, registry)
    with pytest.raises(BreakerOpen):
        other.call(lambda: None)
    assert repr(one) == "Breaker('smtp')"


@pytest.mark.parametrize("name", ["", "a\n", "x" * 201, None])
def test_a_bad_name_is_refused_at_once(name: str) -> None:
    with pytest.raises(ConfigurationError):
        Breaker(name)


def test_a_closed_breaker_calls_without_asking_the_store(breaker: Breaker, world: World) -> None:
    world.server.calls.clear()
    for _ in range(100):
        breaker.call(lambda: None)
        with contextlib.suppress(ServiceDown):
            breaker.call(down)
    assert world.server.calls == []


def test_an_open_breaker_refuses_without_asking_the_store(breaker: Breaker, registry: Registry, world: World) -> None:
    trip(breaker, registry)
    world.server.calls.clear()
    for _ in range(100):
        with pytest.raises(BreakerOpen):
            breaker.call(down)
    assert world.server.calls == []


# --- what is counted --------------------------------------------------------------------------------------------------


def test_successes_are_counted(breaker: Breaker, registry: Registry) -> None:
    for _ in range(7):
        breaker.call(lambda: None)
    with contextlib.suppress(ServiceDown):
        breaker.call(down)
    registry.work()
    totals = registry.totals(registry.cell("smtp"))
    assert (totals.calls, totals.failures, totals.workers) == (8, 1, {"w1": 1})


def test_a_slow_call_counts_as_a_failure(world: World) -> None:
    world.policy = Policy(max_failures=2, slow_call_duration=1.0)
    registry = world.process()
    breaker = breaker_in(registry)
    for _ in range(2):
        breaker.call(world.clock.advance, 1.5)
    registry.work()
    assert breaker.state is State.OPEN
    assert world.stored().reason == "2 of 2 calls failed"


def test_slow_calls_with_a_rate_of_their_own_are_no_failures(world: World) -> None:
    world.policy = Policy(max_failures=4, failure_rate=0, slow_call_duration=1.0, slow_call_rate=0.5)
    registry = world.process()
    breaker = breaker_in(registry)
    breaker.call(world.clock.advance, 1.5)
    for _ in range(2):
        breaker.call(lambda: None)
    registry.work()
    assert breaker.state is State.CLOSED
    assert registry.totals(registry.cell("smtp")).failures == 0
    breaker.call(world.clock.advance, 1.5)
    registry.work()
    assert world.stored().reason == "2 of 4 calls were slow"


def test_a_result_may_be_a_failure(world: World) -> None:
    world.policy = Policy(max_failures=2, classify=lambda exception, result: "failure" if result == 503 else None)
    registry = world.process()
    breaker = breaker_in(registry)
    assert [breaker.call(lambda: 503) for _ in range(2)] == [503, 503]
    registry.work()
    assert breaker.state is State.OPEN


def test_a_classify_that_raises_leaves_the_usual_rules(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def broken(exception: BaseException | None, result: object) -> None:
        raise RuntimeError("broken classify")

    world.policy = Policy(max_failures=2, classify=broken)
    registry = world.process()
    breaker = breaker_in(registry)
    assert breaker.call(lambda: 5) == 5
    trip(breaker, registry, 2)
    assert breaker.state is State.OPEN
    assert "classify of breaker 'smtp' failed" in caplog.text


def test_an_exception_that_cannot_be_shown_hurts_nobody(breaker: Breaker, registry: Registry) -> None:
    class Unspeakable(Exception):
        def __repr__(self) -> str:
            raise RuntimeError("no words")

        @property
        def retry_after(self) -> float:
            raise RuntimeError("no time")

    def service() -> None:
        raise Unspeakable

    for _ in range(3):
        with pytest.raises(Unspeakable):
            breaker.call(service)
    registry.work()
    assert breaker.state is State.OPEN


def test_the_service_s_retry_after_is_honoured_within_the_cap(world: World) -> None:
    class Throttled(Exception):
        retry_after = 120.0

    def throttled() -> None:
        raise Throttled

    for cap, seconds in ((900.0, 120.0), (60.0, 60.0)):
        world.policy = Policy(max_failures=1, jitter=0, max_recovery_timeout=cap)
        registry = world.process()
        breaker = breaker_in(registry, f"cap {cap}")
        with contextlib.suppress(Throttled):
            breaker.call(throttled)
        registry.work()
        assert breaker.retry_after == seconds


# --- what it says of itself -------------------------------------------------------------------------------------------


def test_it_tells_its_state_from_the_store(breaker: Breaker, registry: Registry, world: World) -> None:
    assert (breaker.state, breaker.mode) == (State.CLOSED, Mode.AUTO)
    assert (breaker.retry_after, breaker.time_since_fault) == (0.0, None)
    other = breaker_in(world.process("w2"))
    trip(other, other._own()[0])
    world.clock.advance(10)
    assert (breaker.state, breaker.retry_after, breaker.time_since_fault) == (State.OPEN, 20.0, 10.0)
    world.clock.advance(100)
    assert breaker.retry_after == 0.0


def test_without_a_policy_of_its_own_the_configuration_s_is_in_force(breaker: Breaker) -> None:
    assert breaker.policy == POLICY


# --- its policy -------------------------------------------------------------------------------------------------------


def test_two_breakers_may_give_the_same_policy(registry: Registry) -> None:
    for _ in range(2):
        assert breaker_in(registry, policy=Policy(max_failures=7)).policy.max_failures == 7


def test_two_breakers_may_give_the_same_health_check(registry: Registry) -> None:
    for _ in range(2):
        breaker_in(registry, policy=Policy(max_failures=7, health_check=bool))


def test_two_policies_for_one_name_are_refused(registry: Registry) -> None:
    breaker_in(registry, policy=Policy(max_failures=7))
    with pytest.raises(ConfigurationError, match=r"'smtp' is given two policies that differ in max_failures"):
        breaker_in(registry, policy=Policy(max_failures=8))


def test_a_refused_policy_leaves_no_trace(registry: Registry, world: World) -> None:
    breaker_in(registry)
    with pytest.raises(ConfigurationError):
        breaker_in(registry, policy=Policy(max_failures=8))
    world.clock.advance(601)
    registry.work()
    assert "smtp" not in registry.cells
    assert registry.cell("smtp").policy == POLICY


# --- its place --------------------------------------------------------------------------------------------------------


def test_the_current_registry_is_found_at_the_first_call(registry: Registry) -> None:
    breaker = Breaker("smtp")
    with provided(registry):
        assert breaker.call(lambda: 5) == 5
    assert "smtp" in registry.cells


def test_a_breaker_whose_registry_was_closed_finds_its_place_again(registry: Registry) -> None:
    breaker = breaker_in(registry)
    with provided(registry):
        breaker.call(lambda: None)
        registry.close()
        assert breaker.call(lambda: 5) == 5


def test_a_generator_function_is_refused(breaker: Breaker) -> None:
    def rows() -> Iterator[int]:
        yield 1

    with pytest.raises(ConfigurationError, match="is a generator"):
        breaker(rows)
