"""The agent and breakers of scope "worker": each worker tends its own, and keeps from the others nothing it parked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from celery_breaker import Policy
from celery_breaker.core.record import State
from celery_breaker.engine.view import Cell
from celery_breaker.plugin.agent.agent import LEASE, Agent
from celery_breaker.plugin.parking.lot import Pace
from celery_breaker.testing.waiting import eventually
from tests.engine.world import World, fail, known

HERE = Policy(max_failures=3, failure_rate=0, recovery_timeout=30, jitter=0, scope="worker")


@pytest.fixture
def world() -> World:
    return World()


class Lot:
    """A parking queue, and workers that take what is released at once."""

    pace = Pace()

    def __init__(self, parked: int, *, parked_again: bool = False) -> None:
        self.waiting, self.parked_again = parked, parked_again
        self.released: list[int] = []

    def size(self, name: str) -> int:
        return self.waiting

    def target_depth(self, name: str) -> int | None:
        return 0

    def release(self, name: str, count: int, *, ahead: bool = False, held: Any = None) -> int:
        moved = min(count, self.waiting)
        self.waiting -= 0 if self.parked_again else moved
        self.released.append(moved)
        return moved

    def close(self) -> None:
        """Nothing to give back."""


class Bad:
    """A bad worker: its own breaker is open, and it has parked something; another worker holds the agent's lease."""

    def __init__(self, world: World, lot: Lot, policy: Policy = HERE) -> None:
        self.world, self.lot = world, lot
        world.policy = policy
        registry = world.process("bad", tended=True)
        self.cell: Cell = known(registry, "gpu-here")
        fail(registry, 3, "gpu-here")
        world.server.lease(LEASE, "another", limit=1, ttl=1e9)
        breakers: Any = SimpleNamespace(
            registry=registry,
            settings=SimpleNamespace(tend_interval=5.0),
            policies=SimpleNamespace(names=list),
            open_lot=lambda: lot,
            app=None,
        )
        self.agent = Agent(breakers)

    def tend(self, seconds: float) -> int:
        """For so long; how many rounds it took."""
        until, rounds = self.world.clock() + seconds, 0
        while self.world.clock() < until:
            self.world.clock.advance(self.agent.tend())
            rounds += 1
        return rounds


def test_what_it_parked_is_released_while_it_is_bad_whoever_holds_the_lease(world: World) -> None:
    bad = Bad(world, Lot(100))
    bad.tend(10)
    assert bad.cell.record.state is State.OPEN
    assert bad.lot.waiting == 0


def test_it_does_not_go_round_and_round_with_what_it_parks_again_itself(world: World) -> None:
    bad = Bad(world, Lot(1000, parked_again=True))
    bad.tend(25)
    assert sum(bad.lot.released) < 25 * 2 * HERE.ramp_start


def test_it_rests_until_there_is_something_to_do(world: World) -> None:
    bad = Bad(world, Lot(0))
    bad.tend(10)
    assert bad.tend(15) <= 5


def test_its_breaker_becomes_half_open_when_its_time_has_come(world: World) -> None:
    bad = Bad(world, Lot(0))
    bad.tend(31)
    assert bad.cell.record.state is State.HALF_OPEN


@pytest.mark.parametrize(("answer", "state"), [(True, State.CLOSED), (False, State.OPEN)])
def test_its_health_is_checked_by_itself(world: World, answer: bool, state: State) -> None:
    policy = Policy(
        max_failures=3, failure_rate=0, recovery_timeout=30, jitter=0, scope="worker", health_check=lambda: answer
    )
    bad = Bad(world, Lot(0), policy)
    bad.tend(31)
    eventually(lambda: bad.cell.record.state is state, "the check should have settled it", timeout=10)
