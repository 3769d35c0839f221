"""Transitions as values."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given

from celery_breaker.core import machine
from celery_breaker.core.events import change_between
from celery_breaker.core.record import Mode, Record, State
from tests.core.strategies import records

CLOSED = Record(name="smtp", generation=4, version=9)
OPEN = replace(CLOSED, state=State.OPEN, generation=5, version=10, until=130.0, trips=3, reason="5 of 5 calls failed")


@given(records)
def test_no_change_is_nothing_to_tell(record: Record) -> None:
    assert change_between(record, record, at=1.0) is None


def test_bookkeeping_is_nothing_to_tell() -> None:
    assert change_between(CLOSED, replace(CLOSED, draining=True, ramp=5.0, version=10), at=1.0) is None
    half = replace(OPEN, state=State.HALF_OPEN)
    assert change_between(half, replace(half, successes=1), at=1.0) is None


def test_a_transition_tells_where_from_where_to_and_why() -> None:
    change = change_between(CLOSED, OPEN, at=100.0)
    assert change is not None and change.moved and change.stepped and not change.overridden
    assert (change.name, change.before, change.after) == ("smtp", State.CLOSED, State.OPEN)
    assert (change.generation, change.version, change.at, change.until, change.trips) == (5, 10, 100.0, 130.0, 3)
    assert (change.reason, change.by) == ("5 of 5 calls failed", "")


def test_an_override_tells_its_reason_and_who_it_was() -> None:
    forced = machine.override(OPEN, Mode.FORCED_OPEN, now=1.0, reason="maintenance", by="eve")
    change = change_between(OPEN, forced, at=1.0)
    assert change is not None and change.overridden and not change.moved and not change.stepped
    assert (change.mode_before, change.mode_after) == (Mode.AUTO, Mode.FORCED_OPEN)
    assert (change.reason, change.by) == ("maintenance", "eve")


def test_what_is_forced_open_is_open_whatever_the_state() -> None:
    forced = machine.override(CLOSED, Mode.FORCED_OPEN, now=1.0)
    came = change_between(CLOSED, forced, at=1.0)
    went = change_between(forced, machine.override(forced, Mode.AUTO, now=2.0), at=2.0)
    watched = change_between(CLOSED, machine.override(CLOSED, Mode.OBSERVING, now=1.0), at=1.0)
    assert came is not None and (came.state_before, came.state_after) == (State.CLOSED, State.OPEN)
    assert went is not None and (went.state_before, went.state_after) == (State.OPEN, State.CLOSED)
    assert watched is not None and (watched.state_before, watched.state_after) == (State.CLOSED, State.CLOSED)


def test_lifting_an_override_is_a_change() -> None:
    forced = machine.override(OPEN, Mode.FORCED_OPEN, now=1.0, reason="maintenance", by="eve")
    change = change_between(forced, machine.override(forced, Mode.AUTO, now=2.0), at=2.0)
    assert change is not None and change.overridden
    assert (change.reason, change.by) == ("", "")


def test_closing_what_was_forced_open_tells_the_reason_of_the_closing() -> None:
    forced = machine.override(OPEN, Mode.FORCED_OPEN, now=1.0, reason="maintenance", by="eve")
    change = change_between(forced, machine.close(forced, now=2.0), at=2.0)
    assert change is not None and change.moved and change.overridden
    assert change.reason == "closed by hand"


def test_a_transition_below_an_override_keeps_its_own_reason() -> None:
    watched = machine.override(CLOSED, Mode.OBSERVING, now=1.0, reason="rehearsal")
    change = change_between(watched, replace(OPEN, override=watched.override), at=2.0)
    assert change is not None and change.moved
    assert change.reason == "5 of 5 calls failed"


def test_a_reset_of_a_closed_breaker_is_told_though_the_state_is_the_same() -> None:
    change = change_between(CLOSED, machine.reset(CLOSED, now=1.0), at=1.0)
    assert change is not None and change.stepped and not change.moved and not change.overridden
    assert change.reason == "reset by hand"


def test_options_that_are_set_have_no_reason_of_their_own() -> None:
    change = change_between(OPEN, machine.retuned(OPEN, (("jitter", 0.0),)), at=1.0)
    assert change is not None and change.reason == ""
