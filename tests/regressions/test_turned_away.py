"""Who comes while somebody else is probing: sent away for a while, and never let through on a permit of no use."""

from __future__ import annotations

import pytest

from celery_breaker.core.policy import Policy
from celery_breaker.core.record import State
from celery_breaker.errors import BreakerOpen
from celery_breaker.stores.base import Store
from tests.engine.world import World, breaker_in, fail, known
from tests.regressions.conftest import NewProcess, put


@pytest.mark.parametrize("same_process", [True, False])
def test_whoever_loses_the_permit_is_told_to_wait(process: NewProcess, store: Store, same_process: bool) -> None:
    """Told 0, or a time that has passed, callers that wait as they are told come back at once, for a whole probe."""
    put(store, State.OPEN, generation=1)
    prober = process("w1")
    other = prober if same_process else process("w2")
    for registry in (prober, other):
        known(registry)
    waits: list[float | None] = []

    def probe() -> None:
        for _ in range(3):
            with pytest.raises(BreakerOpen) as refusal:
                breaker_in(other).call(lambda: None)
            waits.append(refusal.value.retry_after)

    breaker_in(prober).call(probe)
    assert waits == [1.0, 1.0, 1.0]


def test_where_only_the_agent_probes_callers_are_told_to_wait(process: NewProcess, store: Store) -> None:
    put(store, State.OPEN, generation=1)
    registry = process(policy=Policy(health_check=bool), tended=True)
    known(registry)
    with pytest.raises(BreakerOpen) as refusal:
        breaker_in(registry).call(lambda: None)
    assert refusal.value.retry_after == 1.0


@pytest.mark.parametrize("early", [-0.5, 0.5, 1.5, 2.5, 3.5, 4.5])
def test_an_interval_that_ends_between_two_looks_at_the_clock_lets_nobody_probe_on_the_side(early: float) -> None:
    """A permit of the open generation would fence nothing: its answer counts nowhere, and another probes meanwhile."""
    world = World()

    def clock() -> float:
        """Each look takes a millisecond."""
        world.clock.advance(0.001)
        return world.clock()

    first, second = world.process("w1"), world.process("w2", clock=clock)
    fail(first, 3)
    known(second)
    world.clock.advance(world.stored().until - world.clock() - early / 1000)
    tickets = [second.enter(second.cell("smtp"))]
    world.clock.advance(1)
    known(first)
    tickets.append(first.enter(first.cell("smtp")))
    assert sum(ticket is not None for ticket in tickets) == 1
