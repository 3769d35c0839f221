"""Calls side by side, and a policy that is the code's and not the store's."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from celery_breaker.core.policy import Policy
from celery_breaker.core.record import State
from celery_breaker.engine.breaker import Breaker
from celery_breaker.stores.base import Store
from tests.engine.world import breaker_in, fail, known
from tests.regressions.conftest import NewProcess, put


def meet(breaker: Breaker, *, block: bool) -> None:
    """Two calls that end only when both are under way."""
    gate = threading.Barrier(2)

    def call(_: int) -> None:
        if block:
            with breaker:
                gate.wait(10)
        else:
            breaker.call(gate.wait, 10)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(call, range(2)))


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("state", [State.CLOSED, State.HALF_OPEN])
def test_calls_are_not_serialised_by_a_lock_around_user_code(
    process: NewProcess, store: Store, state: State, block: bool
) -> None:
    """A lock held while the service is called makes every thread wait for the slowest, and a hang hang them all."""
    put(store, state, generation=2)
    registry = process(policy=Policy(half_open_calls=2, success_threshold=2))
    known(registry)
    meet(breaker_in(registry), block=block)
    registry.work()
    assert store.read(["smtp"]).records["smtp"].state is State.CLOSED


def test_a_call_under_way_does_not_keep_the_reporter_waiting(process: NewProcess, store: Store) -> None:
    registry = process()
    known(registry)
    breaker_in(registry).call(fail, registry, 3)
    assert store.read(["smtp"]).records["smtp"].state is State.OPEN


def test_a_policy_changed_in_the_code_takes_hold_although_the_store_has_records_from_the_old_one(
    process: NewProcess, store: Store
) -> None:
    old = Policy(max_failures=5, failure_rate=0, recovery_timeout=600, max_recovery_timeout=900, jitter=0)
    before = process("old", policy=old)
    fail(before, 5)
    opened = store.read(["smtp"]).records["smtp"]
    assert opened.until - opened.since == 600
    put(store, State.CLOSED, generation=opened.generation + 2, trips=0)
    known(before)
    fail(before, 2)

    new = Policy(max_failures=3, failure_rate=0, recovery_timeout=60, max_recovery_timeout=120, jitter=0)
    after = process("new", policy=new)
    known(after)
    fail(after)  # with the old one's two, as many as the new policy asks for
    opened = store.read(["smtp"]).records["smtp"]
    assert (opened.state, opened.until - opened.since) == (State.OPEN, 60)


@pytest.mark.parametrize("permits", [1, 3])
def test_permits_are_those_of_the_policy_in_force(process: NewProcess, store: Store, permits: int) -> None:
    put(store, State.HALF_OPEN, generation=2)
    old = process("old", policy=Policy(half_open_calls=2))
    new = process("new", policy=Policy(half_open_calls=permits))
    for registry in (old, new):
        known(registry)
    assert old.enter(old.cell("smtp")) is not None
    assert sum(new.enter(new.cell("smtp")) is not None for _ in range(4)) == permits - 1
