"""The registries of a fleet over one store: they agree, whoever wins a race and whatever the store forgets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from celery_breaker.core import machine
from celery_breaker.core.machine import Admission
from celery_breaker.core.record import Mode, Override, State
from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.registry import Outcome, Registry
from celery_breaker.stores.base import Snapshot
from tests.engine.situations import opened, state
from tests.engine.world import World, end, fail, known


def test_a_trip_is_seen_by_everybody_at_the_next_refresh(world: World) -> None:
    one, other = world.process("w1"), world.process("w2", skew=-5_000_000.0)
    assert known(other).passing
    fail(one, 3)
    world.clock.advance(1)
    other.work()
    assert other.admission(other.cell("smtp")) is Admission.REFUSE
    assert other.retry_after(other.cell("smtp")) == 29


def test_a_hint_makes_a_refresh_early(world: World) -> None:
    one, other = world.process("w1"), world.process("w2")
    other.cell("smtp")
    other.work()
    fail(one, 3)
    other.work()
    assert other.cell("smtp").passing, "it was not time yet"
    other.hint("smtp")
    other.work()
    assert not other.cell("smtp").passing


def test_a_hint_of_an_unknown_breaker_is_ignored(world: World, registry: Registry) -> None:
    registry.hint("nobody's")
    registry.work()
    assert "nobody's" not in registry.cells


def test_two_processes_that_trip_at_once_make_one_transition(world: World) -> None:
    one, other = world.process("w1"), world.process("w2")
    for worker in (one, other):
        cell = known(worker)
        for _ in range(3):
            worker.report(Outcome(cell.ticket, Verdict.FAILURE))
    one.work()
    other.work()
    assert world.stored().generation == 1
    assert [change.after for change in world.changes] == [State.OPEN]
    assert other.cell("smtp").record == world.stored()


def test_a_swap_that_is_lost_is_tried_on_the_new_record(world: World, registry: Registry) -> None:
    cell = known(registry)
    world.put(replace(cell.record, override=Override(mode=Mode.OBSERVING, since=0)))
    after = registry.change(cell, lambda record, now: machine.expect_backlog(record))
    assert after == world.stored()
    assert (after.mode, after.draining, after.version) == (Mode.OBSERVING, True, 2)


def test_what_one_generation_s_window_says_does_not_open_the_next(world: World, registry: Registry) -> None:
    cell = known(registry)

    def overtake(operation: str) -> None:
        if operation == "swap":
            world.server.before = lambda operation: None
            world.put(machine.reset(world.stored(), now=world.clock()))

    world.server.before = overtake
    fail(registry, 3)
    assert (world.stored().state, world.stored().generation) == (State.CLOSED, 1)
    assert cell.record == world.stored()


def test_an_answer_that_was_overtaken_by_a_change_made_here_is_not_applied(
    world: World, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, read = known(registry), world.server.read
    registry.change(cell, lambda record, now: machine.expect_backlog(record))

    def read_slowly(names: Iterable[str]) -> Snapshot:
        snapshot = read(names)
        monkeypatch.undo()
        world.clock.advance(0.1)
        registry.change(cell, lambda record, now: machine.override(record, Mode.FORCED_OPEN, now=now))
        return snapshot

    monkeypatch.setattr(world.server, "read", read_slowly)
    registry.refresh()
    assert not cell.passing


def test_a_step_that_changes_nothing_is_not_written(world: World, registry: Registry) -> None:
    cell = known(registry)
    world.server.calls.clear()
    assert registry.change(cell, lambda record, now: record) is cell.record
    assert world.server.calls == []


def test_swaps_that_are_lost_for_ever_end_with_an_error_in_the_log(
    world: World, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    cell = known(registry)

    def overtake(operation: str) -> None:
        if operation == "swap":
            world.put(world.stored())

    world.server.before = overtake
    registry.change(cell, lambda record, now: machine.reset(record, now=now))
    assert "gave up a change after 16 lost swaps" in caplog.text


def test_the_store_emptied_under_an_open_breaker_gets_its_record_back(world: World) -> None:
    one, other = world.process("w1"), world.process("w2")
    fail(one, 3)
    known(other)
    lost = world.stored()
    world.server.empty()
    world.clock.advance(1)
    one.work()
    other.work()
    assert world.stored() == replace(lost, version=1)
    assert one.cell("smtp").record == other.cell("smtp").record == world.stored()


@pytest.mark.parametrize("mode", [Mode.FORCED_OPEN, Mode.DISABLED, Mode.OBSERVING])
def test_the_store_emptied_under_an_override_gets_it_back(world: World, registry: Registry, mode: Mode) -> None:
    cell = known(registry)
    registry.change(cell, lambda record, now: machine.override(record, mode, now=now))
    world.server.empty()
    world.clock.advance(1)
    registry.work()
    assert world.stored().mode is mode


@pytest.mark.parametrize("late", ["outcome", "other worker"])
def test_the_store_emptied_under_a_closed_breaker_goes_on_counting(world: World, late: str) -> None:
    """What is still on its way from a generation that is lost must not keep the window of the new one shut."""
    one, other = world.process("w1"), world.process("w2")
    opened(world, one)
    end(one, one.enter(one.cell("smtp")), Verdict.SUCCESS)
    one.change(one.cell("smtp"), lambda record, now: machine.drained(record))
    known(other)
    other.work()
    ticket = one.cell("smtp").ticket
    world.server.empty()
    if late == "other worker":
        fail(other)  # it has not read since
    world.clock.advance(1)
    one.work()
    other.work()
    if late == "outcome":
        end(one, ticket)
    for _ in range(3):
        fail(one)
        fail(other)
        world.clock.advance(1)
    assert state(world) is State.OPEN


def test_a_breaker_forgotten_while_it_is_in_use_goes_on_counting(world: World) -> None:
    one, other = world.process("w1"), world.process("w2")
    known(one)
    known(other)
    one.change(one.cell("smtp"), lambda record, now: machine.drained(machine.reset(record, now=now)))
    known(other)
    world.server.store.forget("smtp")
    fail(other)
    for _ in range(3):
        world.clock.advance(1)
        fail(one)
    assert state(world) is State.OPEN
