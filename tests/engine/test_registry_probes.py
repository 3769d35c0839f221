"""The registry in a fleet that probes: permits, and outcomes that come too late."""

from __future__ import annotations

from dataclasses import replace

import pytest

from celery_breaker.core import machine
from celery_breaker.core.record import State
from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.leases import permit_key
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Ticket
from tests.engine.situations import opened, state
from tests.engine.world import POLICY, World, end, fail, known


def test_an_open_breaker_costs_one_call_per_interval_however_many_workers(world: World) -> None:
    workers = [world.process(f"w{n}", skew=float(n * 1000)) for n in range(10)]
    fail(workers[0], 3)
    for round_ in range(4):
        world.clock.advance(30 * 2**round_)
        for worker in workers:
            worker.work()
        tickets = [ticket for worker in workers if (ticket := worker.enter(worker.cell("smtp")))]
        assert len(tickets) == 1
        end(owner(workers, tickets[0]), tickets[0])
        assert world.stored().trips == round_ + 2


def owner(workers: list[Registry], ticket: Ticket) -> Registry:
    (found,) = [worker for worker in workers if worker.cells.get(ticket.cell.name) is ticket.cell]
    return found


@pytest.mark.parametrize("permits", [1, 3])
def test_there_are_as_many_probes_at_once_as_permitted(world: World, permits: int) -> None:
    world.policy = replace(POLICY, half_open_calls=permits, success_threshold=5)
    workers = [world.process(f"w{n}") for n in range(5)]
    opened(world, workers[0])
    for worker in workers:
        worker.work()
    tickets = [ticket for worker in workers if (ticket := worker.enter(worker.cell("smtp")))]
    assert len(tickets) == permits
    assert len({ticket.permit for ticket in tickets}) == permits
    end(owner(workers, tickets[0]), tickets[0], Verdict.SUCCESS)
    again = [ticket for worker in workers if (ticket := worker.enter(worker.cell("smtp")))]
    assert len(again) == 1


def test_a_successful_probe_closes_for_everybody(world: World) -> None:
    one, other = world.process("w1"), world.process("w2")
    opened(world, one)
    end(one, one.enter(one.cell("smtp")), Verdict.SUCCESS)
    assert state(world) is State.CLOSED
    known(other)
    assert other.cell("smtp").passing


def test_it_takes_as_many_successes_as_asked_for_from_whoever(world: World) -> None:
    world.policy = replace(POLICY, success_threshold=3)
    workers = [world.process(f"w{n}") for n in range(3)]
    opened(world, workers[0])
    for number, worker in enumerate(workers):
        cell = known(worker)
        end(worker, worker.enter(cell), Verdict.SUCCESS)
        assert (state(world) is State.CLOSED) is (number == 2)


def test_a_neutral_probe_is_no_success_and_frees_the_permit(world: World, registry: Registry) -> None:
    opened(world, registry)
    cell = registry.cell("smtp")
    ticket = registry.enter(cell)
    assert registry.enter(cell) is None
    end(registry, ticket, Verdict.NEUTRAL)
    assert state(world) is State.HALF_OPEN
    assert world.stored().successes == 0
    assert registry.enter(cell) is not None


def test_a_lost_probe_s_permit_expires(world: World) -> None:
    world.policy = replace(POLICY, probe_timeout=20)
    one, other = world.process("w1"), world.process("w2")
    opened(world, one)
    lost = one.enter(one.cell("smtp"))
    assert lost is not None
    cell = known(other)
    world.clock.advance(19)
    assert other.enter(cell) is None
    world.clock.advance(1)
    assert other.enter(cell) is not None


def test_a_probe_is_leased_for_as_long_as_its_call_may_take(world: World, registry: Registry) -> None:
    opened(world, registry)
    cell = registry.cell("smtp")
    assert registry.enter(cell, ttl=5) is not None
    world.clock.advance(4.9)
    assert registry.enter(cell) is None
    world.clock.advance(0.1)
    assert registry.enter(cell) is not None


def test_a_probe_that_was_taken_for_lost_comes_back_too_late(world: World) -> None:
    world.policy = replace(POLICY, probe_timeout=20)
    one, other = world.process("w1"), world.process("w2")
    opened(world, one)
    lost = one.enter(one.cell("smtp"))
    world.clock.advance(20)
    known(other)
    end(other, other.enter(other.cell("smtp")))
    assert state(world) is State.OPEN
    end(one, lost, Verdict.SUCCESS)
    assert state(world) is State.OPEN
    assert world.stored().trips == 2


def test_a_failed_probe_says_why(world: World, registry: Registry) -> None:
    opened(world, registry)
    end(registry, registry.enter(registry.cell("smtp")), reason="ConnectionError('smtp')")
    assert world.stored().reason == "probe failed: ConnectionError('smtp')"


def test_a_breaker_is_entered_from_the_reporter_on_request(world: World, registry: Registry) -> None:
    opened(world, registry)
    cell, answers = registry.cell("smtp"), []
    for _ in range(2):
        registry.ask(cell, answers.append)
    assert answers == []
    registry.work()
    ticket, nothing = answers
    assert ticket is not None and ticket.permit and nothing is None


def test_an_answer_that_raises_keeps_nobody_waiting(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    def broken(ticket: Ticket | None) -> None:
        raise RuntimeError("broken answer")

    answers: list[Ticket | None] = []
    registry.ask(registry.cell("smtp"), broken)
    registry.ask(registry.cell("smtp"), answers.append)
    registry.work()
    assert len(answers) == 1
    assert "broken answer" in caplog.text


def test_a_permit_is_given_back_to_the_generation_it_came_from(world: World, registry: Registry) -> None:
    opened(world, registry)
    ticket = registry.enter(registry.cell("smtp"))
    assert ticket is not None
    registry.change(ticket.cell, lambda record, now: machine.close(record, now=now))
    end(registry, ticket, Verdict.SUCCESS)
    assert world.server.store.lease(permit_key("smtp", ticket.generation), "other", limit=1, ttl=60)


# --- generations ------------------------------------------------------------------------------------------------------


def test_a_late_success_from_before_the_trip_does_not_close(world: World, registry: Registry) -> None:
    late = registry.cell("smtp").ticket
    opened(world, registry)
    assert registry.enter(registry.cell("smtp")) is not None
    end(registry, late, Verdict.SUCCESS)
    registry.succeeded(late)
    registry.work()
    assert state(world) is State.HALF_OPEN


def test_a_late_failure_does_not_open_again(world: World, registry: Registry) -> None:
    late = registry.cell("smtp").ticket
    opened(world, registry)
    end(registry, registry.enter(registry.cell("smtp")), Verdict.SUCCESS)
    for _ in range(10):
        end(registry, late)
    assert state(world) is State.CLOSED


def test_an_outcome_of_a_generation_that_is_news_here_is_read_up_on(world: World) -> None:
    """A call admitted by one process and reported by another, as between a worker and its pool."""
    one, other = world.process("w1"), world.process("w2")
    other.cell("smtp")
    opened(world, one)
    other.work()
    ticket = one.enter(one.cell("smtp"))
    assert ticket is not None
    there = Ticket(other.cell("smtp"), generation=ticket.generation, epoch=0, permit=ticket.permit)
    end(other, there, Verdict.SUCCESS)
    assert state(world) is State.CLOSED
