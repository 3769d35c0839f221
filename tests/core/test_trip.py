"""When a closed breaker opens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from celery_breaker.core import machine
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Record, State
from celery_breaker.core.windows import Totals
from tests.core.strategies import policies, records, units, windows_full

FRESH = Record(name="smtp")
NOW = 1000.0


def totals(calls: int, failures: int, **more: Any) -> Totals:
    return Totals(now=NOW, calls=calls, failures=failures, **{"workers": {"a": failures} if failures else {}, **more})


def tripped(seen: Totals, record: Record = FRESH, **options: Any) -> Record:
    return machine.tripped(record, seen, Policy(**options), now=NOW, u=0.5)


def trips(seen: Totals, **options: Any) -> bool:
    return tripped(seen, **options).state is State.OPEN


def test_it_opens_at_max_failures_not_before() -> None:
    assert [trips(totals(n, n), max_failures=3) for n in (2, 3, 4)] == [False, True, True]


def test_six_failures_at_once_trip_a_threshold_of_three() -> None:
    assert trips(totals(6, 6), max_failures=3)


def test_failures_must_make_up_their_share_of_the_calls() -> None:
    assert not trips(totals(101, 50), failure_rate=0.5)
    assert trips(totals(100, 50), failure_rate=0.5)


def test_a_rate_of_zero_counts_failures_alone() -> None:
    assert trips(totals(10**6, 5), failure_rate=0)


def test_a_rate_of_one_takes_failures_only() -> None:
    assert trips(totals(5, 5), failure_rate=1)
    assert not trips(totals(6, 5), failure_rate=1)


def test_few_calls_never_trip_by_their_rate() -> None:
    assert not trips(totals(4, 4), max_failures=5, failure_rate=0.1)


def test_a_streak_trips_whatever_the_window_says() -> None:
    assert trips(totals(1000, 3, streak=3), consecutive_failures=3)
    assert not trips(totals(1000, 3, streak=2), consecutive_failures=3)
    assert not trips(totals(1000, 3, streak=999), max_failures=5)


@pytest.mark.parametrize(("workers", "open_"), [(("a",), False), (("a", "b"), True), (("a", "b", "c"), True)])
def test_one_sick_worker_does_not_trip_a_fleet_that_asks_for_two(workers: tuple[str, ...], open_: bool) -> None:
    seen = dict.fromkeys(workers, 5)
    assert trips(totals(15, 15, workers=seen), min_workers=2) is open_
    assert trips(totals(15, 15, workers=seen, streak=15), min_workers=2, consecutive_failures=3) is open_


def test_slow_calls_trip_at_their_own_rate_without_a_failure() -> None:
    options = {"slow_call_duration": 1.0, "slow_call_rate": 0.8}
    assert trips(totals(10, 0, slow=8), **options)
    assert not trips(totals(10, 0, slow=7), **options)
    assert trips(totals(5, 0, slow=4), **options)
    assert not trips(totals(4, 0, slow=4), **options)
    assert not trips(totals(10, 0, slow=10), slow_call_duration=1.0)


@pytest.mark.parametrize(
    ("seen", "options", "reason"),
    [
        (totals(8, 6), {}, "6 of 8 calls failed"),
        (totals(8, 6, streak=4), {"consecutive_failures": 4}, "4 failures in a row"),
        (totals(8, 0, slow=7), {"slow_call_duration": 1.0, "slow_call_rate": 0.5}, "7 of 8 calls were slow"),
    ],
)
def test_the_reason_is_a_sentence(seen: Totals, options: dict[str, Any], reason: str) -> None:
    assert tripped(seen, **options).reason == reason


def test_a_trip_says_when_the_next_probe_is_due() -> None:
    after = tripped(totals(5, 5), recovery_timeout=30, jitter=0.1)
    assert after == replace(
        FRESH,
        state=State.OPEN,
        generation=1,
        since=NOW,
        until=NOW + 30,
        trips=1,
        last_fault=NOW,
        reason="5 of 5 calls failed",
        draining=True,
    )


def test_a_trip_while_draining_ends_the_ramp() -> None:
    assert tripped(totals(5, 5), replace(FRESH, draining=True, ramp=40.0)).ramp == 0


def test_the_service_may_ask_for_a_longer_interval_within_the_cap() -> None:
    for asked, seconds in ((None, 30), (10, 30), (120, 120), (10**6, 900)):
        after = machine.tripped(FRESH, totals(5, 5), Policy(), now=NOW, u=0.5, asked=asked)
        assert after.until == NOW + seconds


def test_a_relapse_right_after_closing_opens_for_longer() -> None:
    recovered = replace(FRESH, since=NOW - 1, trips=3, generation=8)
    after = tripped(totals(5, 5), recovered)
    assert (after.trips, after.until) == (4, NOW + 240)


@pytest.mark.parametrize(
    ("closed_for", "options", "afresh"),
    [
        (59.9, {}, False),
        (60.0, {}, True),
        (60.0, {"recovery_timeout": 100}, False),
        (100.0, {"recovery_timeout": 100}, True),
        (29.0, {"failure_window": "100 calls"}, False),
        (30.0, {"failure_window": "100 calls"}, True),
        (0.5, {"failure_window": "100 calls", "recovery_timeout": 0.5}, True),
    ],
)
def test_backoff_starts_afresh_after_a_calm_period(closed_for: float, options: dict[str, Any], afresh: bool) -> None:
    calm = replace(FRESH, since=NOW - closed_for, trips=6)
    assert tripped(totals(5, 5), calm, **options).trips == (1 if afresh else 7)


@pytest.mark.parametrize("state", [State.OPEN, State.HALF_OPEN])
def test_only_a_closed_breaker_trips(state: State) -> None:
    record = replace(FRESH, state=state)
    assert tripped(totals(50, 50), record) is record


@pytest.mark.parametrize(("mode", "open_"), [(Mode.DISABLED, False), (Mode.FORCED_OPEN, False), (Mode.OBSERVING, True)])
def test_an_override_decides_whether_failures_move_the_state(mode: Mode, open_: bool) -> None:
    record = machine.override(FRESH, mode, now=NOW)
    assert (tripped(totals(50, 50), record).state is State.OPEN) is open_


def test_an_override_that_has_expired_no_longer_holds_the_state() -> None:
    record = machine.override(FRESH, Mode.DISABLED, now=NOW - 10, expires_in=10)
    assert tripped(totals(50, 50), record).state is State.OPEN


@given(records, windows_full(), policies(), units)
def test_a_trip_is_one_generation_and_an_interval_within_the_cap(
    record: Record, seen: Totals, policy: Policy, u: float
) -> None:
    after = machine.tripped(record, seen, policy, now=NOW, u=u)
    if after is record:
        return
    assert record.state is State.CLOSED and after.state is State.OPEN
    assert after.generation == record.generation + 1
    assert NOW <= after.until <= NOW + policy.max_recovery_timeout * (1 + 1e-9)
    assert (after.override, after.version, after.name) == (record.override, record.version, record.name)
    assert after.reason and after.trips >= 1


@given(windows_full(), policies(), units)
def test_a_window_without_failures_or_slow_calls_never_trips(seen: Totals, policy: Policy, u: float) -> None:
    harmless = replace(seen, failures=0, slow=0, streak=0, workers={})
    assert machine.tripped(FRESH, harmless, policy, now=NOW, u=u) is FRESH
