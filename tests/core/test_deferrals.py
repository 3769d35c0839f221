"""How often a task may be set aside, and when one that is sent again comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.core.deferrals import FLOOR, back_off, delay, held_back, may_defer
from celery_breaker.core.policy import Policy
from tests.core.strategies import units


@pytest.mark.parametrize(("deferrals", "allowed"), [(0, True), (2, True), (3, False), (99, False)])
def test_a_task_is_deferred_as_often_as_allowed(deferrals: int, allowed: bool) -> None:
    assert may_defer(Policy(max_deferrals=3), deferrals=deferrals, first=0.0, now=1e9) is allowed


@pytest.mark.parametrize(
    ("first", "now", "allowed"), [(None, 1e9, True), (100.0, 159.9, True), (100.0, 160.0, False), (100.0, 50.0, True)]
)
def test_a_task_is_deferred_for_as_long_as_allowed(first: float | None, now: float, allowed: bool) -> None:
    assert may_defer(Policy(max_deferral_age=60), deferrals=5, first=first, now=now) is allowed


def test_without_limits_a_task_is_deferred_for_ever() -> None:
    assert may_defer(Policy(), deferrals=10**9, first=0.0, now=1e18)


def test_a_task_comes_back_with_the_next_probe_and_later_each_time() -> None:
    assert [delay(10.0, Policy(), deferrals=n, cap=1800, u=0.0) for n in (0, 1, 2, 3)] == [10, 20, 40, 80]


def test_a_task_is_away_for_a_second_at_least() -> None:
    assert delay(0.0, Policy(), deferrals=0, cap=1800, u=0.0) == 1
    assert delay(10.0, Policy(), deferrals=0, cap=0.1, u=0.0) == 1


def test_the_delay_no_longer_grows_when_it_is_past_any_cap() -> None:
    assert [delay(1.0, Policy(), deferrals=n, cap=1e12, u=0.0) for n in (32, 33, 10**6)] == [2.0**32] * 3


def test_a_breaker_forced_open_without_end_delays_by_its_own_interval() -> None:
    assert delay(None, Policy(recovery_timeout=7), deferrals=0, cap=1800, u=0.0) == 7


def test_tasks_deferred_together_come_back_apart() -> None:
    assert [delay(10.0, Policy(), deferrals=0, cap=1800, u=u) for u in (0.0, 0.5)] == [10, 12.5]


@given(st.none() | st.floats(0, 1e9), st.integers(0, 10**6), st.floats(FLOOR, 1e5), units)
def test_a_delay_is_never_a_loop_and_never_past_the_cap(
    retry_after: float | None, deferrals: int, cap: float, u: float
) -> None:
    assert FLOOR <= delay(retry_after, Policy(), deferrals=deferrals, cap=cap, u=u) <= cap


# --- parked by a breaker that stays closed ----------------------------------------------------------------------------


def test_a_failed_task_waits_a_second_and_twice_as_long_each_time() -> None:
    assert [back_off(Policy(), deferrals=n, asked=None, u=0.0) for n in range(4)] == [1, 2, 4, 8]
    assert [back_off(Policy(), deferrals=1, asked=None, u=u) for u in (0.5, 0.9)] == [2.5, 2.9], "up to half more"


def test_it_never_waits_longer_than_the_longest_open_interval() -> None:
    policy = Policy(max_recovery_timeout=60)
    assert [back_off(policy, deferrals=n, asked=None, u=0.9) for n in (6, 32, 10**6)] == [60, 60, 60]
    assert back_off(policy, deferrals=0, asked=3600.0, u=0.0) == 60


@given(deferrals=st.integers(0, 100), asked=st.none() | st.floats(0, 1e6), u=units)
def test_a_back_off_honours_the_service_s_own_word_within_the_cap(
    deferrals: int, asked: float | None, u: float
) -> None:
    seconds = back_off(Policy(), deferrals=deferrals, asked=asked, u=u)
    assert min(max(FLOOR, asked or 0.0), 900.0) <= seconds <= 900.0


@pytest.mark.parametrize(
    ("due", "closed_at", "now", "held"),
    [
        (None, 0.0, 11.0, False),
        (20.0, 0.0, 19.9, True),
        (20.0, 0.0, 20.0, False),
        (20.0, 10.0, 11.0, True),
        (20.0, 10.1, 11.0, False),
    ],
    ids=["not due at a time", "not yet", "due", "closed as it was parked", "has recovered since"],
)
def test_a_parked_task_waits_for_its_time_unless_its_breaker_has_recovered(
    due: float | None, closed_at: float, now: float, held: bool
) -> None:
    assert held_back(due=due, since=10.0, closed_at=closed_at, now=now) is held
