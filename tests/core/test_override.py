"""What an operator says, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from celery_breaker.core import machine
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Override, Record, State, decode, encode
from celery_breaker.core.windows import Totals
from tests.core.strategies import policies, records, units

NOW = 1000.0
CLOSED = Record(name="smtp", generation=4, since=900.0, trips=2, last_fault=800.0)
OPEN = replace(CLOSED, state=State.OPEN, generation=5, until=1100.0)


def test_an_override_keeps_who_why_and_until_when() -> None:
    after = machine.override(CLOSED, Mode.FORCED_OPEN, now=NOW, reason="maintenance", by="eve", expires_in=60)
    assert after.override == Override(
        mode=Mode.FORCED_OPEN, since=NOW, expires=NOW + 60, reason="maintenance", by="eve"
    )
    assert (after.state, after.generation) == (State.CLOSED, 4)


def test_an_override_survives_refreshes_and_ends_at_its_time_only() -> None:
    record = machine.override(CLOSED, Mode.FORCED_OPEN, now=NOW, expires_in=60)
    assert machine.relax(record, now=NOW + 59.9) is record
    assert machine.relax(record, now=NOW + 60).override is None


@pytest.mark.parametrize("seconds", [1e15, float("inf")])
def test_an_override_for_longer_than_any_store_can_read_is_cut(seconds: float) -> None:
    record = machine.override(CLOSED, Mode.FORCED_OPEN, now=NOW, expires_in=seconds)
    assert decode(encode(record), version=record.version) == record


def test_an_override_without_end_stays_until_lifted() -> None:
    record = machine.override(CLOSED, Mode.DISABLED, now=NOW)
    assert machine.relax(record, now=1e12) is record
    assert machine.override(record, Mode.AUTO, now=NOW).override is None


def test_lifting_what_is_not_there_writes_nothing() -> None:
    assert machine.override(CLOSED, Mode.AUTO, now=NOW) is CLOSED
    assert machine.relax(CLOSED, now=NOW) is CLOSED


def test_a_new_override_replaces_the_old() -> None:
    record = machine.override(CLOSED, Mode.DISABLED, now=NOW, reason="test", by="eve", expires_in=5)
    after = machine.override(record, Mode.OBSERVING, now=NOW + 1)
    assert after.override == Override(mode=Mode.OBSERVING, since=NOW + 1)


def test_lifting_a_forced_opening_looks_for_parked_tasks() -> None:
    record = replace(machine.override(CLOSED, Mode.FORCED_OPEN, now=NOW), draining=False)
    assert machine.override(record, Mode.AUTO, now=NOW).draining
    assert machine.relax(
        replace(record, override=Override(mode=Mode.FORCED_OPEN, since=0, expires=1)), now=NOW
    ).draining


def test_an_override_looks_for_parked_tasks() -> None:
    assert machine.override(replace(CLOSED, draining=False), Mode.FORCED_OPEN, now=NOW).draining


def test_closing_by_hand_lifts_a_forced_opening_and_keeps_the_backoff() -> None:
    forced = machine.override(OPEN, Mode.FORCED_OPEN, now=NOW)
    after = machine.close(forced, now=NOW)
    assert (after.state, after.generation, after.override, after.trips) == (State.CLOSED, 6, None, 2)
    assert after.reason == "closed by hand" and after.draining
    assert after.since == NOW


def test_closing_what_is_closed_but_forced_open_only_lifts() -> None:
    forced = machine.override(CLOSED, Mode.FORCED_OPEN, now=NOW)
    after = machine.close(forced, now=NOW)
    assert (after.override, after.generation) == (None, 4)


def test_closing_what_is_closed_writes_nothing() -> None:
    assert machine.close(CLOSED, now=NOW) is CLOSED


@pytest.mark.parametrize("mode", [Mode.DISABLED, Mode.OBSERVING])
def test_closing_by_hand_leaves_other_overrides(mode: Mode) -> None:
    after = machine.close(machine.override(OPEN, mode, now=NOW), now=NOW)
    assert (after.state, after.mode) == (State.CLOSED, mode)


def test_a_reset_forgets_everything_and_starts_a_new_window() -> None:
    forced = machine.override(OPEN, Mode.DISABLED, now=NOW)
    after = machine.reset(forced, now=NOW)
    assert (after.state, after.generation, after.override) == (State.CLOSED, 6, None)
    assert (after.trips, after.last_fault, after.until) == (0, None, 0.0)
    assert machine.reset(CLOSED, now=NOW).generation == CLOSED.generation + 1


def test_parked_tasks_are_remembered_and_forgotten() -> None:
    waiting = machine.expect_backlog(replace(CLOSED, ramp=5.0))
    assert waiting.draining and waiting.ramp == 0 and machine.expect_backlog(waiting) is waiting
    ramped = machine.ramped(waiting, 20.0)
    assert ramped.ramp == 20 and machine.ramped(ramped, 20.0) is ramped
    done = machine.drained(ramped)
    assert (done.draining, done.ramp) == (False, 0.0) and machine.drained(done) is done


@given(records, policies(), units)
def test_nothing_but_an_operator_or_expiry_touches_an_override(record: Record, policy: Policy, u: float) -> None:
    bad = Totals(now=NOW, calls=99, failures=99, streak=99, workers={"a": 33, "b": 33, "c": 33})
    generation: dict[str, Any] = {"generation": record.generation, "now": NOW}
    for after in (
        machine.tripped(record, bad, policy, now=NOW, u=u),
        machine.half_opened(record, now=NOW),
        machine.probe_succeeded(record, policy, **generation),
        machine.probe_failed(record, policy, **generation, u=u, reason=""),
        machine.health_checked(record, policy, healthy=True, now=NOW, u=u, reason=""),
        machine.expect_backlog(record),
        machine.drained(record),
        machine.ramped(record, 5.0),
    ):
        assert after.override is record.override


def test_only_the_very_override_is_taken_back() -> None:
    before = machine.override(CLOSED, Mode.DISABLED, now=NOW - 9, expires_in=20)
    begun = machine.override(before, Mode.FORCED_OPEN, now=NOW, reason="upgrade")
    assert begun.override is not None
    mine = begun.override
    assert machine.lifted(begun, mine, before=None, now=NOW + 1).override is None
    assert machine.lifted(begun, mine, before=before.override, now=NOW + 1).override == before.override
    assert machine.lifted(begun, mine, before=before.override, now=before.override.expires).override is None
    assert machine.lifted(begun, mine, before=before.override, now=NOW + 12).override is None
    others = machine.override(begun, Mode.FORCED_OPEN, now=NOW + 1, reason="upgrade")
    assert machine.lifted(others, mine, before=None, now=NOW + 2) is others
    assert machine.lifted(CLOSED, mine, before=before.override, now=NOW + 2) is CLOSED


def test_what_was_parked_meanwhile_is_looked_for_once_an_override_is_taken_back() -> None:
    before = machine.override(CLOSED, Mode.OBSERVING, now=NOW)
    begun = machine.override(before, Mode.FORCED_OPEN, now=NOW + 1)
    assert begun.override is not None
    idle = replace(begun, draining=False)
    assert machine.lifted(idle, begun.override, before=before.override, now=NOW + 2).draining
    alone = machine.lifted(idle, begun.override, before=None, now=NOW + 2)
    assert (alone.draining, alone.recovering) == (True, NOW + 2)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("mode", Mode)
def test_in_force_is_the_state_unless_somebody_forces_it_open(state: State, mode: Mode) -> None:
    record = replace(machine.override(CLOSED, mode, now=NOW, expires_in=60), state=state)
    assert machine.state_at(record, NOW) is (State.OPEN if mode is Mode.FORCED_OPEN else state)
    assert machine.state_at(record, NOW + 60) is state


def test_what_an_override_kept_from_being_released_is_looked_for_at_its_end() -> None:
    forced = machine.override(CLOSED, Mode.FORCED_OPEN, now=NOW, expires_in=60)
    watched = replace(machine.override(CLOSED, Mode.DISABLED, now=NOW, expires_in=60), draining=False)
    assert machine.close(forced, now=NOW + 5).recovering == NOW + 5
    assert machine.relax(forced, now=NOW + 60).recovering == NOW + 60
    assert machine.relax(watched, now=NOW + 60).draining
