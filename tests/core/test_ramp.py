"""How many parked tasks may go back now."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.core.policy import Policy
from celery_breaker.core.ramp import MAX_RATE, Step, fresh, step
from celery_breaker.core.record import Record
from celery_breaker.core.windows import Totals
from tests.core.strategies import policies, windows_full

HEALTHY = Totals(now=0, calls=100)
SICK = Totals(now=0, calls=4, failures=2)


def test_it_starts_as_told() -> None:
    assert step(0.0, HEALTHY, Policy(ramp_start=8), elapsed=0.5, excess=0) == Step(rate=8, count=4)


def test_it_doubles_while_the_window_is_healthy() -> None:
    rates = [10.0]
    for _ in range(4):
        rates.append(step(rates[-1], HEALTHY, Policy(), elapsed=1, excess=0).rate)
    assert rates == [10, 20, 40, 80, 160]


def test_it_stops_doubling_at_ten_thousand_a_second() -> None:
    assert [step(rate, HEALTHY, Policy(), elapsed=1, excess=0).rate for rate in (4999.0, 5001.0)] == [9998, 10_000]


def test_it_halves_when_failures_come_near_the_threshold() -> None:
    assert step(40.0, SICK, Policy(max_failures=5), elapsed=1, excess=0).rate == 20
    assert step(1.5, SICK, Policy(max_failures=5), elapsed=1, excess=0).rate == 1


def test_a_few_failures_among_many_calls_do_not_slow_it() -> None:
    assert step(40.0, Totals(now=0, calls=1000, failures=6), Policy(), elapsed=1, excess=0).rate == 80


def test_it_is_healthy_up_to_a_quarter_of_what_would_trip() -> None:
    few = Policy(max_failures=8, failure_rate=0)
    assert step(40.0, Totals(now=0, calls=2, failures=2), few, elapsed=1, excess=0).rate == 80
    assert step(40.0, Totals(now=0, calls=3, failures=3), few, elapsed=1, excess=0).rate == 20
    share = Policy(max_failures=1, failure_rate=0.5)
    assert step(40.0, Totals(now=0, calls=16, failures=2), share, elapsed=1, excess=0).rate == 80
    assert step(40.0, Totals(now=0, calls=15, failures=2), share, elapsed=1, excess=0).rate == 20


def test_from_the_slowest_rate_it_goes_up_step_by_step() -> None:
    assert step(1.0, HEALTHY, Policy(ramp_start=50), elapsed=1, excess=0).rate == 2


def test_it_waits_for_workers_that_do_not_keep_up() -> None:
    assert step(40.0, HEALTHY, Policy(), elapsed=1, excess=20) == Step(rate=40, count=20)
    assert step(40.0, HEALTHY, Policy(), elapsed=1, excess=39) == Step(rate=40, count=1)
    assert step(40.0, HEALTHY, Policy(), elapsed=1, excess=19) == Step(rate=80, count=61)


def test_a_queue_that_got_shorter_is_no_reason_for_a_burst() -> None:
    assert step(10.0, HEALTHY, Policy(), elapsed=1, excess=-500) == Step(rate=20, count=20)


@given(st.floats(0, MAX_RATE), windows_full(), policies(), st.floats(0, 60), st.integers(-(10**6), 10**6))
def test_the_backlog_never_starves_and_never_floods(
    rate: float, totals: Totals, policy: Policy, elapsed: float, excess: int
) -> None:
    after = step(rate, totals, policy, elapsed=elapsed, excess=excess)
    assert 1 <= after.count <= max(1, MAX_RATE * elapsed)
    assert 0 < after.rate <= max(MAX_RATE, policy.ramp_start)
    assert after.rate <= max(rate * 2, policy.ramp_start, 1.0)


# --- fresh calls ------------------------------------------------------------------------------------------------------

SHARED = Policy(admit_ramp=True, ramp_start=40)


def test_releases_and_fresh_calls_share_the_ramp_where_both_are_on_it() -> None:
    assert step(40.0, HEALTHY, SHARED, elapsed=1, excess=0) == Step(rate=80, count=40)
    assert type(step(10.0, HEALTHY, SHARED, elapsed=0.25, excess=0).count) is int, "tasks are whole"
    share = fresh(Record(name="smtp", ramp=80.0), SHARED, now=0.0)
    assert share.limit * share.size == 20  # in half a second


def test_without_releases_the_rate_for_fresh_calls_doubles_with_time() -> None:
    record = Record(name="smtp", recovering=100.0)
    calls = [fresh(record, SHARED, now=100.0 + 0.5 * steps) for steps in range(4)]
    assert [share.limit * share.size for share in calls] == [10, 20, 40, 80]
    assert fresh(record, SHARED, now=1e9) == fresh(record, SHARED, now=200.0)


def test_one_fresh_call_always_goes() -> None:
    share = fresh(Record(name="smtp", ramp=1.0), SHARED, now=0.0)
    assert (share.limit, share.size) == (1, 1)


@given(st.floats(0, MAX_RATE), st.floats(0, 1e6))
def test_shares_never_add_up_to_more_than_half_the_ramp(rate: float, now: float) -> None:
    share = fresh(Record(name="smtp", ramp=rate), SHARED, now=now)
    assert type(share.limit) is int, "a store counts in whole places"
    assert share.limit >= 1
    assert share.size >= 1
    most = rate or MAX_RATE
    assert share.limit * share.size <= max(1, most * share.seconds / 2)
