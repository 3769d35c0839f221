"""A fork: the child starts anew with the same views, and nothing of the parent's is counted twice."""

from __future__ import annotations

import pytest

from celery_breaker.core.verdict import Verdict
from celery_breaker.core.windows import Delta
from celery_breaker.engine import default
from celery_breaker.engine import registry as registry_module
from celery_breaker.engine.registry import Outcome, Registry
from tests.engine.world import SilentReporter, World, fail, known
from tests.support.forks import held_by_a_thread, in_child

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def failures(registry: Registry) -> dict[str, int]:
    return registry._tally(registry.cell("smtp"), 0, Delta()).workers


def test_a_child_counts_under_its_workers_name(world: World, registry: Registry) -> None:
    """`min_workers` counts workers: the processes of one pool are one."""
    known(registry)
    fail(registry, 1)

    def child() -> dict[str, int]:
        fail(registry, 1)
        return failures(registry)

    assert in_child(lambda: list(child().values())) == "[2]"


def test_what_the_parent_has_not_reported_yet_is_not_reported_twice(world: World, registry: Registry) -> None:
    cell = known(registry)
    registry.report(Outcome(cell.ticket, Verdict.FAILURE))
    registry.succeeded(cell.ticket)

    def child() -> dict[str, int]:
        registry.work()
        return failures(registry)

    assert in_child(child) == "{}"
    registry.work()
    assert failures(registry) == {"w1": 1}


def test_a_child_sees_what_its_parent_saw(world: World, registry: Registry) -> None:
    fail(registry, 3)
    assert (
        in_child(lambda: (registry.cell("smtp").passing, str(registry.cell("smtp").record.state))) == "(False, 'open')"
    )


def test_a_child_has_a_reporter_of_its_own_which_starts_when_needed(registry: Registry) -> None:
    before = registry.reporter

    def child() -> tuple[bool, bool]:
        return registry.reporter is before, registry.reporter.running

    assert in_child(child) == "(False, False)"
    assert registry.reporter is before


def test_a_lock_held_at_the_fork_does_not_stop_the_child(world: World) -> None:
    registry = world.process()
    registry.link.shared = world.server.store
    known(registry)

    def child() -> str:
        registry.reporter = SilentReporter()  # type: ignore[assignment]
        world.clock.advance(2)
        fail(registry, 3)
        registry.cell("another")
        return str(registry.cell("smtp").record.state)

    with held_by_a_thread(registry._lock, registry.link._lock, world.server.store._lock, default._lock):
        assert in_child(child) == "'open'"
        assert in_child(lambda: default.registry_at("memory://forked").link.connected) == "True"


def test_places_on_the_ramp_are_not_doubled_by_a_fork_nor_locked_by_one(registry: Registry) -> None:
    places = known(registry).places
    places.add(5, until=float("inf"))
    with held_by_a_thread(places._lock):
        assert in_child(lambda: registry.take_place(registry.cell("smtp"))) == "False"
    assert registry.take_place(registry.cell("smtp"))


def test_a_call_that_spans_the_fork_can_end_in_the_child(world: World, registry: Registry) -> None:
    ticket = known(registry).ticket

    def child() -> str:
        for _ in range(3):
            registry.report(Outcome(ticket, Verdict.FAILURE))
        registry.work()
        return str(registry.cell("smtp").record.state)

    assert in_child(child) == "'open'"


def test_children_do_not_draw_the_same_holders(world: World, registry: Registry) -> None:
    fail(registry, 3)
    world.clock.advance(30)

    def child() -> str | None:
        ticket = registry.enter(registry.cell("smtp"))
        return ticket and ticket.permit

    assert in_child(child) != in_child(child)


def test_a_registry_that_cannot_be_made_usable_does_not_keep_others_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Registry] = []

    def fail_first(registry: Registry) -> None:
        made.append(registry)
        if len(made) == 1:
            raise RuntimeError("a lock of somebody else's")

    world = World()
    kept = [world.process("w1"), world.process("w2")]
    monkeypatch.setattr(Registry, "after_fork", fail_first)
    registry_module._after_fork()
    assert {*kept} <= {*made}
