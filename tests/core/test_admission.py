"""What a breaker says to a call, and for how long it says no."""

from __future__ import annotations

import pytest
from hypothesis import given

from celery_breaker.core import machine
from celery_breaker.core.machine import Admission
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Override, Record, State
from tests.core.strategies import policies, records, times

ADMIT, PERMIT, REFUSE = Admission.ADMIT, Admission.PERMIT, Admission.REFUSE


def record(state: State, mode: Mode = Mode.AUTO, expires: float | None = None) -> Record:
    override = None if mode is Mode.AUTO else Override(mode=mode, since=0.0, expires=expires)
    return Record(name="smtp", state=state, until=100.0, override=override)


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (Mode.AUTO, (ADMIT, REFUSE, PERMIT)),
        (Mode.FORCED_OPEN, (REFUSE, REFUSE, REFUSE)),
        (Mode.DISABLED, (ADMIT, ADMIT, ADMIT)),
        (Mode.OBSERVING, (ADMIT, ADMIT, ADMIT)),
    ],
)
def test_the_mode_comes_before_the_state(mode: Mode, said: tuple[Admission, ...]) -> None:
    states = (State.CLOSED, State.OPEN, State.HALF_OPEN)
    assert tuple(machine.admission(record(state, mode), Policy(), 50.0) for state in states) == said
    assert tuple(machine.admission(record(state, mode, 51.0), Policy(), 50.0) for state in states) == said


@pytest.mark.parametrize("mode", [Mode.FORCED_OPEN, Mode.DISABLED, Mode.OBSERVING])
def test_an_expired_override_no_longer_counts_although_nobody_lifted_it(mode: Mode) -> None:
    assert machine.mode_at(record(State.OPEN, mode, 50.0), 49.9) is mode
    assert machine.mode_at(record(State.OPEN, mode, 50.0), 50.0) is Mode.AUTO
    assert machine.admission(record(State.OPEN, mode, 50.0), Policy(), 50.0) is REFUSE
    assert machine.admission(record(State.CLOSED, mode, 50.0), Policy(), 50.0) is ADMIT


@pytest.mark.parametrize(
    ("given_", "now", "seconds"),
    [
        (record(State.CLOSED), 0.0, 0.0),
        (record(State.HALF_OPEN), 0.0, 0.0),
        (record(State.OPEN), 40.0, 60.0),
        (record(State.OPEN), 100.0, 0.0),
        (record(State.OPEN), 1e9, 0.0),
        (record(State.CLOSED, Mode.FORCED_OPEN), 40.0, None),
        (record(State.CLOSED, Mode.FORCED_OPEN, 55.0), 40.0, 15.0),
        (record(State.CLOSED, Mode.FORCED_OPEN, 55.0), 54.5, 0.5),
        (record(State.CLOSED, Mode.FORCED_OPEN, 55.0), 56.0, 0.0),
        (record(State.OPEN, Mode.FORCED_OPEN, 55.0), 56.0, 44.0),
        (record(State.OPEN, Mode.DISABLED), 40.0, 0.0),
        (record(State.OPEN, Mode.OBSERVING), 40.0, 0.0),
    ],
)
def test_retry_after_is_the_time_until_a_call_may_be_admitted(
    given_: Record, now: float, seconds: float | None
) -> None:
    assert machine.retry_after(given_, now) == seconds


@given(records, times)
def test_retry_after_is_never_negative(record: Record, now: float) -> None:
    assert (machine.retry_after(record, now) or 0.0) >= 0


@given(records, policies(), times)
def test_whoever_is_admitted_need_not_wait(record: Record, policy: Policy, now: float) -> None:
    if machine.admission(record, policy, now) is not REFUSE:
        assert machine.retry_after(record, now) == 0


# --- on the ramp ------------------------------------------------------------------------------------------------------


def test_after_a_close_fresh_calls_need_a_place_if_the_policy_says_so() -> None:
    closed = machine.close(Record(name="smtp", state=State.OPEN, generation=1), now=10.0)
    assert machine.admission(closed, Policy(), 10.0) is Admission.ADMIT
    assert machine.admission(closed, Policy(admit_ramp=True), 10.0) is Admission.PLACE
    assert machine.admission(machine.drained(closed), Policy(admit_ramp=True), 10.0) is Admission.ADMIT


def test_after_a_forced_opening_too() -> None:
    forced = machine.override(Record(name="smtp"), Mode.FORCED_OPEN, now=1.0, expires_in=5.0)
    for let_go in (machine.override(forced, Mode.AUTO, now=2.0), machine.relax(forced, now=6.0)):
        assert machine.admission(let_go, Policy(admit_ramp=True), 6.0) is Admission.PLACE


def test_what_was_never_refused_needs_none() -> None:
    policy = Policy(admit_ramp=True)
    disabled = machine.override(Record(name="smtp"), Mode.DISABLED, now=1.0, expires_in=5.0)
    assert machine.admission(machine.relax(disabled, now=6.0), policy, 6.0) is Admission.ADMIT
    assert machine.admission(machine.expect_backlog(Record(name="smtp")), policy, 6.0) is Admission.ADMIT


def test_an_operator_s_word_is_above_the_ramp() -> None:
    closed = machine.close(Record(name="smtp", state=State.OPEN, generation=1), now=10.0)
    disabled = machine.override(closed, Mode.DISABLED, now=11.0)
    assert machine.admission(disabled, Policy(admit_ramp=True), 12.0) is Admission.ADMIT
