"""What processes note of a breaker: its changes with who won them, and samples of its failures."""

from __future__ import annotations

from dataclasses import replace

from celery_breaker.core import machine
from celery_breaker.core.journal import Book, Event
from celery_breaker.core.record import Mode
from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.breaker import Breaker
from celery_breaker.engine.registry import Outcome, Registry
from tests.engine.world import World, fail, provided


def failed(registry: Registry, *, reason: str = "OSError()", task: str = "mail.send", task_id: str = "id") -> None:
    """One failure, handed over."""
    ticket = registry.cell("smtp").ticket
    registry.report(replace(Outcome(ticket, Verdict.FAILURE), reason=reason, task=task, task_id=task_id))


def test_a_trip_is_noted_once_by_the_process_that_won_it(world: World) -> None:
    one, other = world.process("celery@one"), world.process("celery@other")
    for registry in (one, other):
        registry.work()
    fail(one, 3)
    other.work()
    world.clock.advance(1)
    other.work()
    [entry] = one.notes("smtp", Book.HISTORY)
    assert (entry.event, entry.before, entry.what, entry.by) == (Event.TRANSITION, "closed", "open", "celery@one")
    assert (entry.at, entry.generation, entry.count) == (1_000_000.0, 1, 1)
    assert "3 of 3" in entry.reason
    assert other.notes("smtp", Book.HISTORY) == [entry]


def test_an_operator_s_word_is_noted_with_name_and_reason(world: World, registry: Registry) -> None:
    cell = registry.cell("smtp")
    registry.change(
        cell, lambda record, now: machine.override(record, Mode.FORCED_OPEN, now=now, reason="moving", by="eve")
    )
    registry.change(cell, lambda record, now: machine.override(record, Mode.AUTO, now=now))
    lifted, forced = registry.notes("smtp", Book.HISTORY)
    assert (forced.event, forced.what, forced.reason, forced.by) == (Event.OVERRIDE, "forced_open", "moving", "eve")
    assert (lifted.event, lifted.what) == (Event.OVERRIDE, "auto")


def test_whoever_steers_a_breaker_from_code_may_say_who_it_is(world: World) -> None:
    registry = world.process("w")
    with provided(registry):
        smtp = Breaker("smtp")
        smtp.open(by="eve")
        smtp.auto(by="adam")
        smtp.reset(by="cron")
    assert [entry.by for entry in registry.notes("smtp", Book.HISTORY)] == ["cron", "adam", "eve"]


def test_failures_are_noted_with_task_worker_and_exception(world: World, registry: Registry) -> None:
    failed(registry, reason="ConnectionRefusedError()", task="mail.send", task_id="42")
    registry.work()
    [entry] = registry.notes("smtp", Book.FAILURES)
    assert (entry.event, entry.what, entry.by) == (Event.FAILURE, "ConnectionRefusedError()", registry.worker)
    assert (entry.task, entry.task_id) == ("mail.send", "42")


def test_of_many_failures_the_latest_few_are_noted_once_a_second(world: World, registry: Registry) -> None:
    registry.work()
    for number in range(100):
        failed(registry, task_id=str(number))
        registry.work()
    world.server.calls.clear()
    for number in range(100, 200):
        failed(registry, task_id=str(number))
        registry.work()
    assert world.server.calls.count("note") == 0
    world.clock.advance(1)
    registry.work()
    assert world.server.calls.count("note") == 1
    ids = [entry.task_id for entry in registry.notes("smtp", Book.FAILURES)]
    assert ids[:5] == ["199", "198", "197", "196", "195"]


def test_successes_note_nothing(world: World, registry: Registry) -> None:
    cell = registry.cell("smtp")
    registry.work()
    for _ in range(100):
        registry.succeeded(cell.ticket)
        world.clock.advance(1)
        registry.work()
    assert "note" not in world.server.calls


def test_what_is_left_is_noted_at_the_end(world: World, registry: Registry) -> None:
    registry.work()
    failed(registry, task_id="1")
    registry.work()
    failed(registry, task_id="2")
    registry.close()
    registry.work()
    assert next(entry.task_id for entry in registry.notes("smtp", Book.FAILURES)) == "2"


def test_a_journal_that_cannot_be_written_hurts_nobody(world: World, registry: Registry) -> None:
    registry.work()

    def refuse(operation: str) -> None:
        if operation == "note":
            raise RuntimeError("as the test says")

    world.server.before = refuse
    fail(registry, 3)
    assert str(world.stored().state) == "open"


def test_entries_that_cannot_be_read_are_left_out(world: World, registry: Registry) -> None:
    world.server.store.note("smtp", Book.HISTORY, ["garbage"])
    assert registry.notes("smtp", Book.HISTORY) == []
