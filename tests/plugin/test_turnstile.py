"""The turnstile: who is worth asking a permit for."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.view import Cell, Ticket
from celery_breaker.plugin.gate.turnstile import Turnstile
from celery_breaker.plugin.parking.note import HEADER
from tests.engine.situations import half_open
from tests.engine.world import World, end, known


class Loop:
    """A main loop on which everything happens at once."""

    connections = 1

    def __init__(self) -> None:
        self.ran: list[str] = []

    def soon(self, call: Callable[[], object]) -> None:
        call()

    def run(self, request: Any) -> None:
        self.ran.append(request.id)


class Stage:
    """A turnstile in a process that does not hold the permit, and what became of its requests."""

    def __init__(self, world: World) -> None:
        self.holder, self.ticket, self.registry = half_open(world)
        self.cell: Cell = self.registry.cell("smtp")
        self.loop = Loop()
        self.admitted: list[str] = []
        self.refused: list[str] = []
        self.world = world
        options: dict[str, Any] = {"registry": self.registry, "loop": self.loop}
        self.turnstile = Turnstile(
            SimpleNamespace(time_limit=None),  # type: ignore[arg-type]
            admit=self._admit,
            refuse=lambda request, cell: self.refused.append(request.id),
            **options,
        )

    def _admit(self, request: Any, tickets: list[Ticket]) -> None:
        self.admitted.append(request.id)

    def arrives(self, name: str, *, parked_before: bool = False) -> list[str]:
        """A task arrives and the reporter does its work; the store's operations for it."""
        headers = {HEADER: {"deferrals": 1}} if parked_before else {}
        request: Any = SimpleNamespace(id=name, time_limits=(None, None), message=SimpleNamespace(headers=headers))
        before = len(self.world.server.calls)
        self.turnstile.ask(request, [self.cell], [])
        self.registry.work()
        return [call for call in self.world.server.calls[before:] if call != "read"]


@pytest.fixture
def stage() -> Stage:
    return Stage(World())


def test_fresh_tasks_ask_for_a_permit_that_is_taken_once_and_not_each(stage: Stage) -> None:
    assert [stage.arrives(name) for name in "abc"] == [["lease"], [], []]
    assert stage.refused == ["a", "b", "c"]


def test_once_answered_nothing_is_kept_of_a_request(stage: Stage) -> None:
    """Breakers may be many, each named after an argument."""
    stage.arrives("a")
    assert not list(stage.turnstile._held)


def test_a_task_that_was_parked_always_asks_for_it_may_be_the_probe(stage: Stage) -> None:
    stage.arrives("fresh")
    assert stage.arrives("released", parked_before=True) == ["lease"]
    stage.holder.give_back(stage.ticket)
    stage.arrives("released again", parked_before=True)
    assert stage.admitted == stage.loop.ran[-1:] == ["released again"]


def test_fresh_tasks_ask_again_after_a_moment(stage: Stage) -> None:
    stage.arrives("a")
    stage.holder.give_back(stage.ticket)
    stage.world.clock.advance(1.0)
    stage.arrives("b")
    assert stage.admitted == ["b"]


def test_fresh_tasks_ask_at_once_in_the_next_half_open_generation(stage: Stage) -> None:
    stage.arrives("a")
    end(stage.holder, stage.ticket, Verdict.FAILURE)
    stage.world.clock.advance(100)
    known(stage.registry)
    stage.arrives("b")
    assert stage.admitted == ["b"]
