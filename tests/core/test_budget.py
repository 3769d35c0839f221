"""The retry budget: retries within a share of a service's calls, and a few in any case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.core.budget import LEAST, MOST, Allowance, allowance
from celery_breaker.core.lease import leased
from celery_breaker.core.policy import Policy
from celery_breaker.core.windows import Totals


def allowed(calls: int, *, budget: float = 0.1, window: float = 60.0) -> Allowance:
    return allowance(Totals(now=0.0, calls=calls), Policy(retry_budget=budget, failure_window=window))


@pytest.mark.parametrize(("calls", "limit"), [(0, LEAST), (39, LEAST), (40, 4), (49, 4), (1000, 100)])
def test_the_budget_is_the_share_of_the_window_s_calls_and_a_few_in_any_case(calls: int, limit: int) -> None:
    assert allowed(calls) == Allowance(limit=limit, ttl=60.0)


def test_of_a_busy_service_the_places_stay_few_and_turn_over_faster() -> None:
    assert allowed(1001) == Allowance(limit=50, ttl=30.0)
    assert allowed(100_000) == Allowance(limit=100, ttl=0.6)


def test_of_a_long_window_a_place_is_held_for_a_minute() -> None:
    assert allowed(36_000, window=3600.0) == Allowance(limit=60, ttl=60.0)
    assert allowed(0, window=3600.0) == Allowance(limit=LEAST, ttl=60.0)


@given(calls=st.integers(0, 10**9), budget=st.floats(0, 1), window=st.floats(0.1, 10_000))
def test_an_allowance_is_never_more_than_the_share_nor_less_than_a_few(
    calls: int, budget: float, window: float
) -> None:
    found = allowed(calls, budget=budget, window=window)
    assert LEAST <= found.limit <= MOST
    assert 0 < found.ttl <= min(window, 60.0) * (1 + 1e-9)
    least = LEAST * window / found.ttl
    assert found.limit * window / found.ttl <= max(least, budget * calls) * (1 + 1e-9)


def granted(asks: list[tuple[float, int]], policy: Policy) -> list[float]:
    """When retries are granted that ask after so many seconds, while the window shows so many calls."""
    holders: dict[int, float] = {}
    times, now = [], 0.0
    for number, (pause, calls) in enumerate(asks):
        now += pause
        found = allowance(Totals(now=now, calls=calls), policy)
        lease, holders = leased(holders, number, limit=found.limit, ttl=found.ttl, now=now)
        if lease:
            times.append(now)
    return times


def most_within(times: list[float], span: float) -> int:
    return max((sum(start <= time < start + span for time in times) for start in times), default=0)


@given(
    pauses=st.lists(st.floats(0, 2), min_size=1, max_size=300),
    calls=st.integers(0, 20_000),
    budget=st.sampled_from([0.0, 0.02, 0.1, 0.5]),
)
def test_with_steady_calls_no_window_sees_more_retries_than_the_share(
    pauses: list[float], calls: int, budget: float
) -> None:
    times = granted([(pause, calls) for pause in pauses], Policy(retry_budget=budget))
    assert most_within(times, 60.0 - 1e-6) <= max(LEAST, budget * calls)


@given(
    asks=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5_000)), min_size=1, max_size=400),
    budget=st.sampled_from([0.0, 0.02, 0.1, 0.5]),
)
def test_however_calls_come_and_go_no_window_sees_more_than_the_share_of_its_busiest_moment_and_one_turn(
    asks: list[tuple[float, int]], budget: float
) -> None:
    """A place is held for as long as the window's share said when it was taken: a fall of traffic ends that late."""
    times = granted(asks, Policy(retry_budget=budget))
    share = budget * max(calls for _, calls in asks)
    turn = MOST if share > MOST else 0
    assert most_within(times, 60.0 - 1e-6) <= max(LEAST, share) + turn
