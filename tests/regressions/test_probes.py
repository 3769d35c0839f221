"""Probes: one at a time, fenced by their generation, and worth only what they say."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Record, State
from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.breaker import Breaker
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Ticket
from celery_breaker.errors import BreakerOpen
from celery_breaker.stores.base import Store
from tests.engine.world import breaker_in, end, fail, known
from tests.regressions.conftest import NewProcess, put

PROCESSES = 8
FOR_LONG = Policy(max_failures=3, failure_rate=0, recovery_timeout=600, max_recovery_timeout=6000, jitter=0)


def stored(store: Store) -> Record:
    return store.read(["smtp"]).records["smtp"]


def probe(registry: Registry) -> Ticket:
    known(registry)
    ticket = registry.enter(registry.cell("smtp"))
    assert ticket is not None and ticket.permit
    return ticket


def test_a_failed_probe_arms_the_open_interval_anew(process: NewProcess, store: Store) -> None:
    """Else every call after the first interval is a probe, for as long as the outage lasts."""
    put(store, State.OPEN, generation=1)
    one, other = process("w1", policy=FOR_LONG), process("w2", policy=FOR_LONG)
    end(one, probe(one), Verdict.FAILURE)
    assert stored(store).until - store.now() == pytest.approx(1200, abs=60)
    for registry in (one, other):
        known(registry)
        assert registry.enter(registry.cell("smtp")) is None


@pytest.mark.parametrize("permits", [1, 3])
def test_however_many_processes_come_at_once_there_are_no_more_probes_than_permits(
    process: NewProcess, store: Store, permits: int
) -> None:
    policy = Policy(max_failures=3, failure_rate=0, half_open_calls=permits)
    fleet = [process(f"w{number}", policy=policy) for number in range(PROCESSES)]
    gate = threading.Barrier(PROCESSES)

    def enter(registry: Registry) -> Ticket | None:
        cell = known(registry)
        gate.wait(20)
        return registry.enter(cell)

    with ThreadPoolExecutor(PROCESSES) as pool:
        for turn in range(10):
            put(store, State.OPEN, generation=1 + 2 * turn)
            tickets = [ticket for ticket in pool.map(enter, fleet) if ticket is not None]
            assert len(tickets) == permits
            assert {ticket.generation for ticket in tickets} == {stored(store).generation}


@pytest.mark.parametrize("state", [State.OPEN, State.HALF_OPEN])
def test_an_old_success_does_not_close(process: NewProcess, store: Store, state: State) -> None:
    registry = process()
    old = known(registry).ticket
    fail(registry, 3)
    assert stored(store).state is State.OPEN
    before = put(store, state, generation=5, due_in=600)
    known(registry)
    end(registry, old, Verdict.SUCCESS)
    registry.succeeded(old)
    registry.work()
    assert stored(store) == before


@pytest.mark.parametrize("processes", [1, 2, 6])
def test_six_failures_at_once_open_a_breaker_with_a_threshold_of_three(
    process: NewProcess, store: Store, processes: int
) -> None:
    """Where read and write are two steps, several write down the same count; and `==` overlooks a count that passed."""
    fleet = [process(f"w{number}") for number in range(processes)]
    gate = threading.Barrier(processes)

    def fail_together(registry: Registry) -> None:
        known(registry)
        gate.wait(20)
        fail(registry, 6 // processes)

    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(fail_together, fleet))
    record = stored(store)
    assert (record.state, record.generation) == (State.OPEN, 1)


class Cancelled(BaseException):
    """As of a library that ends its tasks so."""


@pytest.mark.parametrize(
    "interruption", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, Cancelled]
)
@pytest.mark.parametrize("block", [False, True])
def test_a_cancelled_probe_is_no_success_and_makes_room_for_the_next(
    process: NewProcess, store: Store, interruption: type[BaseException], block: bool
) -> None:
    put(store, State.OPEN, generation=1)
    registry = process()
    known(registry)
    breaker = breaker_in(registry)

    def cancelled() -> None:
        raise interruption

    with pytest.raises(interruption):
        in_a_block(breaker, cancelled) if block else breaker.call(cancelled)
    registry.work()
    record = stored(store)
    assert (record.state, record.successes, record.generation) == (State.HALF_OPEN, 0, 2)
    end(registry, probe(registry), Verdict.SUCCESS)
    assert stored(store).state is State.CLOSED


def in_a_block(breaker: Breaker, service: Callable[[], None]) -> None:
    with breaker:
        service()


def test_whoever_is_refused_while_open_is_told_when_to_come_again(process: NewProcess, store: Store) -> None:
    put(store, State.OPEN, generation=1, due_in=600)
    registry = process()
    known(registry)
    with pytest.raises(BreakerOpen) as refusal:
        breaker_in(registry).call(lambda: None)
    assert refusal.value.retry_after == pytest.approx(600, abs=60)
