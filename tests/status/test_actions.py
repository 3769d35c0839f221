"""What an operator does, and that an order which a whole fleet hears is done once."""

from __future__ import annotations

from celery_breaker.core.journal import Event
from celery_breaker.core.record import Mode
from celery_breaker.status import actions
from tests.status.desks import office


def test_an_order_that_is_heard_again_at_once_changes_nothing() -> None:
    at = office()
    for order in (
        lambda: actions.force(Mode.FORCED_OPEN, by="eve", reason="moving", expires_in=60.0),
        lambda: actions.force(Mode.DISABLED, by="eve"),
        lambda: actions.reset(by="eve", reason="as new"),
        lambda: actions.close(by="eve"),
        lambda: actions.auto(by="eve"),
    ):
        at.desk.act("smtp", actions.once(order()))
        before = at.registry.cell("smtp").record
        at.clock.advance(2.0)
        at.desk.act("smtp", actions.once(order()))
        assert at.registry.cell("smtp").record == before


def test_the_same_order_given_later_is_a_new_one() -> None:
    at = office()
    order = actions.once(actions.force(Mode.FORCED_OPEN, by="eve", expires_in=60.0))
    at.desk.act("smtp", order)
    at.clock.advance(11.0)
    at.desk.act("smtp", order)
    [status] = at.desk.statuses(["smtp"])
    assert status.override_expires_in == 60.0
    reset = actions.once(actions.reset(by="eve"))
    at.desk.act("smtp", reset)
    generation = at.registry.cell("smtp").record.generation
    at.clock.advance(11.0)
    at.desk.act("smtp", reset)
    assert at.registry.cell("smtp").record.generation == generation + 1


def test_another_word_another_reason_or_another_person_is_another_order() -> None:
    at = office()
    said = [
        actions.force(Mode.FORCED_OPEN, by="eve", reason="moving"),
        actions.force(Mode.FORCED_OPEN, by="eve", reason="moved"),
        actions.force(Mode.FORCED_OPEN, by="bob", reason="moved"),
        actions.force(Mode.FORCED_OPEN, by="bob", reason="moved", expires_in=9.0),
        actions.force(Mode.OBSERVING, by="bob", reason="moved", expires_in=9.0),
    ]
    versions = set()
    for order in said:
        at.desk.act("smtp", actions.once(order))
        versions.add(at.registry.cell("smtp").record.version)
    assert len(versions) == len(said)


def test_the_journal_names_who_lifted_closed_or_reset() -> None:
    at = office()
    at.desk.act("smtp", actions.force(Mode.FORCED_OPEN, by="eve"))
    at.desk.act("smtp", actions.auto(by="bob"))
    at.desk.act("smtp", actions.reset(by="ann"))
    assert [entry.by for entry in at.desk.history("smtp")] == ["ann", "bob", "eve"]


def test_a_transition_below_an_override_is_not_the_doing_of_who_set_that() -> None:
    at = office()
    at.desk.act("smtp", actions.force(Mode.OBSERVING, by="eve"))
    at.desk.act("smtp", actions.reset(by="ann"))
    at.desk.act("smtp", actions.force(Mode.OBSERVING, by="eve"))
    cell = at.registry.cell("smtp")
    at.registry.change(cell, lambda record, now: actions.close(by="x").step(record, now))
    latest = at.desk.history("smtp")[0]
    assert (latest.event, latest.by) == (Event.OVERRIDE, "eve")
