"""From open by way of half-open to closed, or back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.core import machine
from celery_breaker.core.machine import Admission
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Record, State
from celery_breaker.core.windows import Totals
from tests.core.strategies import policies, records, units

NOW = 1000.0
OPEN = Record(
    name="smtp", state=State.OPEN, generation=1, since=970.0, until=NOW, trips=1, last_fault=970.0, draining=True
)
HALF = machine.half_opened(OPEN, now=NOW)
BAD = Totals(now=NOW, calls=5, failures=5)


def failed(record: Record, policy: Policy | None = None, *, generation: int | None = None, now: float = NOW) -> Record:
    generation = record.generation if generation is None else generation
    return machine.probe_failed(
        record, policy or Policy(), generation=generation, now=now, u=0.5, reason="probe failed"
    )


def succeeded(record: Record, policy: Policy | None = None, *, generation: int | None = None, count: int = 1) -> Record:
    generation = record.generation if generation is None else generation
    return machine.probe_succeeded(record, policy or Policy(), generation=generation, now=NOW, count=count)


def test_an_open_breaker_is_due_when_its_interval_has_passed() -> None:
    assert not machine.due(OPEN, NOW - 0.001)
    assert machine.due(OPEN, NOW)
    assert machine.half_opened(OPEN, now=NOW - 0.001) is OPEN


def test_half_open_is_a_generation_of_its_own() -> None:
    for record in (OPEN, replace(OPEN, successes=1)):
        after = machine.half_opened(record, now=NOW + 5)
        assert after == replace(OPEN, state=State.HALF_OPEN, generation=2, since=NOW + 5)


@pytest.mark.parametrize("record", [Record(name="smtp"), HALF])
def test_only_an_open_breaker_half_opens(record: Record) -> None:
    assert machine.half_opened(record, now=1e9) is record


def test_a_failed_probe_rearms_the_open_interval() -> None:
    after = failed(HALF, now=NOW + 7)
    assert (after.state, after.generation, after.since) == (State.OPEN, 3, NOW + 7)
    assert after.until == NOW + 7 + 60
    assert after.trips == 2 and after.last_fault == NOW + 7
    assert machine.admission(after, Policy(), NOW + 8) is Admission.REFUSE


def test_each_failed_probe_opens_for_longer() -> None:
    record, now, intervals = OPEN, NOW, []
    for _ in range(7):
        record = failed(machine.half_opened(record, now=now), now=now)
        intervals.append(record.until - now)
        now = record.until
    assert intervals == [60, 120, 240, 480, 900, 900, 900]


def test_a_probe_may_be_told_when_to_come_again() -> None:
    after = machine.probe_failed(HALF, Policy(), generation=2, now=NOW, u=0.5, reason="", asked=300)
    assert after.until == NOW + 300


def test_a_successful_probe_closes() -> None:
    after = succeeded(HALF)
    assert (after.state, after.generation, after.since, after.until) == (State.CLOSED, 3, NOW, 0)
    assert after.reason == "1 successful probe"
    assert after.draining and after.ramp == 0


def test_a_probe_counts_once_unless_told_otherwise() -> None:
    half, policy = machine.half_opened(OPEN, now=NOW), Policy(success_threshold=2)
    one = machine.probe_succeeded(half, policy, generation=2, now=NOW)
    assert (one.state, one.successes) == (State.HALF_OPEN, 1)
    after = machine.probe_succeeded(one, policy, generation=2, now=NOW + 3)
    assert (after.state, after.since, after.reason) == (State.CLOSED, NOW + 3, "2 successful probes")


def test_closing_starts_the_ramp_from_its_beginning() -> None:
    assert succeeded(replace(HALF, ramp=40.0)).ramp == 0


def test_closing_looks_for_parked_tasks_though_there_were_none_a_moment_ago() -> None:
    assert succeeded(machine.drained(HALF)).draining


def test_it_takes_as_many_successes_as_asked_for() -> None:
    policy = Policy(success_threshold=3)
    one = succeeded(HALF, policy)
    assert (one.state, one.generation, one.successes) == (State.HALF_OPEN, 2, 1)
    two = succeeded(one, policy)
    assert two.state is State.HALF_OPEN
    three = succeeded(two, policy)
    assert (three.state, three.successes, three.reason) == (State.CLOSED, 0, "3 successful probes")


def test_successes_do_not_outlive_a_failed_probe() -> None:
    policy = Policy(success_threshold=2)
    after = failed(succeeded(HALF, policy), policy)
    assert after.successes == 0
    again = machine.half_opened(after, now=after.until)
    assert (again.state, again.successes) == (State.HALF_OPEN, 0)
    assert succeeded(again, policy).state is State.HALF_OPEN


def test_the_backoff_remembers_until_a_calm_period_has_passed() -> None:
    closed = succeeded(HALF)
    assert closed.trips == 1
    assert machine.tripped(closed, BAD, Policy(), now=NOW + 1, u=0.5).trips == 2
    assert machine.tripped(closed, BAD, Policy(), now=NOW + 1000, u=0.5).trips == 1


def test_a_late_success_from_before_the_trip_does_not_close() -> None:
    for generation in (0, 1):
        assert succeeded(HALF, generation=generation) is HALF
        assert succeeded(OPEN, generation=generation) is OPEN


def test_a_late_failure_does_not_open_again() -> None:
    closed = succeeded(HALF)
    for generation in (0, 1, 2):
        assert failed(closed, generation=generation) is closed
    for generation in (0, 1):
        assert failed(HALF, generation=generation) is HALF


def test_a_probe_that_was_overtaken_changes_nothing() -> None:
    again = machine.half_opened(failed(HALF), now=1e6)
    assert again.state is State.HALF_OPEN
    assert succeeded(again, generation=HALF.generation) is again


def test_a_breaker_with_a_health_check_spends_no_call_on_probing() -> None:
    assert machine.admission(HALF, Policy(health_check=bool), NOW) is Admission.REFUSE
    assert machine.admission(HALF, Policy(), NOW) is Admission.PERMIT


def test_a_health_check_stands_in_for_a_probe() -> None:
    policy = Policy(health_check=bool)
    good = machine.health_checked(HALF, policy, healthy=True, now=NOW, u=0.5, reason="")
    bad = machine.health_checked(HALF, policy, healthy=False, now=NOW, u=0.5, reason="health check failed")
    assert (good.state, bad.state) == (State.CLOSED, State.OPEN)
    assert (good.since, bad.since) == (NOW, NOW)
    assert (bad.reason, bad.until) == ("health check failed", NOW + 60)


def test_a_breaker_forced_open_is_not_probed() -> None:
    forced = machine.override(OPEN, Mode.FORCED_OPEN, now=NOW, expires_in=10)
    assert not machine.due(forced, NOW + 9)
    assert machine.half_opened(forced, now=NOW + 9) is forced
    assert machine.due(forced, NOW + 10)


def test_a_disabled_breaker_holds_still() -> None:
    for record in (OPEN, HALF):
        disabled = machine.override(record, Mode.DISABLED, now=NOW, expires_in=10)
        assert machine.half_opened(disabled, now=NOW + 9) is disabled
        assert succeeded(disabled) is disabled
        assert failed(disabled) is disabled
    assert machine.due(machine.override(OPEN, Mode.OBSERVING, now=NOW), NOW)


def test_a_probe_on_its_way_when_the_operator_steps_in_still_counts() -> None:
    forced = machine.override(HALF, Mode.FORCED_OPEN, now=NOW)
    assert succeeded(forced).state is State.CLOSED
    assert machine.admission(succeeded(forced), Policy(), NOW) is Admission.REFUSE


@given(records, policies(), units, st.integers(-3, 3), st.integers(1, 5))
def test_a_result_of_another_generation_never_moves_the_state(
    record: Record, policy: Policy, u: float, off: int, count: int
) -> None:
    generation = record.generation + off
    good = machine.probe_succeeded(record, policy, generation=generation, now=NOW, count=count)
    bad = machine.probe_failed(record, policy, generation=generation, now=NOW, u=u, reason="")
    if off or record.state is not State.HALF_OPEN or machine.mode_at(record, NOW) is Mode.DISABLED:
        assert good is record
        assert bad is record
    else:
        assert bad.state is State.OPEN and bad.generation == record.generation + 1
        assert good.generation == record.generation + (good.state is State.CLOSED)
        assert (good.state is State.CLOSED) is (record.successes + count >= policy.success_threshold)


def test_how_long_a_probe_has_been_due_is_told_and_nothing_while_none_is() -> None:
    assert machine.overdue(OPEN, NOW + 7.5) == 7.5
    assert machine.overdue(OPEN, NOW - 1) == 0.0
    assert machine.overdue(HALF, NOW + 7.5) == 0.0
