"""What other threads of the process do in the midst of an operation: no view goes back, or tells of another store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from celery_breaker.core import machine
from celery_breaker.core.record import Record, State
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Cell
from tests.engine.world import World, fail, known


def once(work: Callable[[], object]) -> Callable[[], None]:
    """Do it the first time only."""
    left = [work]

    def act() -> None:
        if left:
            left.pop()()

    return act


def test_who_wins_a_swap_does_not_hide_what_another_thread_has_seen_since(
    world: World, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, swap = known(registry), world.server.swap

    def overtaken() -> None:
        world.put(replace(world.stored(), state=State.OPEN, generation=2, until=world.clock() + 30))
        registry.refresh(["smtp"])

    overtake = once(overtaken)

    def swapped(record: Record, *, expected: int) -> bool:
        won = swap(record, expected=expected)
        overtake()
        return won

    monkeypatch.setattr(world.server, "swap", swapped)
    registry.change(cell, lambda record, now: machine.expect_backlog(record))
    assert cell.record == world.stored()
    assert not cell.passing


def test_two_threads_that_find_the_store_again_move_to_it_once(world: World, registry: Registry) -> None:
    known(registry)
    world.server.down = True
    registry.refresh()
    world.server.down = False
    world.clock.advance(1)
    meanwhile = once(registry.link.rejoin)
    world.server.before = lambda operation: meanwhile()
    assert not registry.link.rejoin(), "the other was faster"
    assert (registry.link.connected, registry.link.epoch) == (True, 2)


def test_what_was_written_here_while_the_store_was_away_is_not_taken_for_what_it_had(
    world: World, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the store would seem to have lost it, and the whole fleet be given the breaker of one."""
    cell = known(registry)
    world.server.down = True
    registry.refresh()
    local = registry.link.run(lambda store: store)
    swap = local.swap

    def back_meanwhile(record: Record, *, expected: int) -> bool:
        won = swap(record, expected=expected)
        world.server.down = False
        world.clock.advance(1)
        registry.link.rejoin()
        return won

    monkeypatch.setattr(local, "swap", back_meanwhile)
    fail(registry, 3)
    assert cell.record.state is State.OPEN
    registry.work()
    assert world.stored() == Record(name="smtp")
    assert cell.record == world.stored()


def test_a_hint_that_comes_while_others_are_worked_off_is_kept(world: World, registry: Registry) -> None:
    for name in ("smtp", "sms"):
        known(registry, name)
    registry.work()
    gathered = registry._hints

    class Cells(dict[str, Cell]):
        def get(self, name: str, default: object = None) -> Cell | None:  # type: ignore[override]
            gathered.add("sms")
            return super().get(name)

    registry.cells = Cells(registry.cells)
    registry.hint("smtp")
    registry.work()
    assert registry._hints == {"sms"}
