"""Permits: to whom they go, and what those are told who get none."""

from __future__ import annotations

import pytest

from celery_breaker import BreakerOpen
from celery_breaker.core.record import State
from celery_breaker.core.verdict import Verdict
from tests.engine.situations import half_open
from tests.engine.world import World, breaker_in, end, known


def test_a_view_from_before_the_failed_probe_gets_no_permit(world: World) -> None:
    one, probe, other = half_open(world)
    end(one, probe, Verdict.FAILURE)
    assert world.stored().state is State.OPEN
    assert other.enter(other.cell("smtp")) is None


def test_a_view_from_before_the_close_is_admitted_in_the_new_generation(world: World) -> None:
    one, probe, other = half_open(world)
    end(one, probe, Verdict.SUCCESS)
    assert world.stored().state is State.CLOSED
    ticket = other.enter(other.cell("smtp"))
    assert ticket is not None
    assert (ticket.generation, ticket.permit) == (world.stored().generation, None)


def test_who_gets_no_permit_is_told_to_wait_and_does_not_spin(world: World) -> None:
    _, _, other = half_open(world)
    with pytest.raises(BreakerOpen) as refusal:
        breaker_in(other).call(lambda: None)
    assert refusal.value.retry_after == 1.0


def test_who_gets_no_permit_need_not_ask_again_for_a_moment(world: World) -> None:
    _, _, other = half_open(world)
    cell = other.cell("smtp")
    assert not other.full(cell)
    assert other.enter(cell) is None
    assert other.full(cell)
    world.clock.advance(1.0)
    assert not other.full(cell), "the permit may have been given back"


def test_who_gets_no_permit_asks_again_when_its_lease_runs_out(world: World) -> None:
    one, ticket, other = half_open(world)
    one.give_back(ticket)
    cell = other.cell("smtp")
    assert one.enter(one.cell("smtp"), ttl=0.25) is not None
    assert other.enter(cell) is None
    world.clock.advance(0.25)
    assert not other.full(cell)
    assert other.enter(cell) is not None


def test_the_next_generation_has_permits_of_its_own(world: World) -> None:
    one, probe, other = half_open(world)
    cell = other.cell("smtp")
    assert other.enter(cell) is None
    end(one, probe, Verdict.FAILURE)
    known(other)
    assert not other.full(cell)
