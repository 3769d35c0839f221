"""How the open interval grows, is capped, spread and lengthened at the service's wish."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.core.backoff import Backoff, check_backoff, interval
from celery_breaker.errors import ConfigurationError
from tests.core.strategies import growths, units


def plain(backoff: Backoff, attempt: int, **options: Any) -> float:
    return interval(backoff, **{"attempt": attempt, "first": 10, "cap": 900, "jitter": 0, "u": 0.5, **options})


@pytest.mark.parametrize(
    ("backoff", "seconds"),
    [
        ("constant", [10, 10, 10, 10]),
        ("linear", [10, 20, 30, 40]),
        ("logarithmic", [10, 20, pytest.approx(25.85, abs=0.01), 30]),
        ("exponential", [10, 20, 40, 80]),
        (lambda attempt, first: first + attempt, [11, 12, 13, 14]),
    ],
)
def test_the_interval_grows_as_told(backoff: Backoff, seconds: list[float]) -> None:
    assert [plain(backoff, attempt) for attempt in (1, 2, 3, 4)] == seconds


def test_it_never_passes_the_cap_however_long_the_outage() -> None:
    assert plain("exponential", 10) == 900
    assert plain("exponential", 10**6) == 900
    assert plain(lambda attempt, first: float("inf"), 1) == 900


def raising(attempt: int, first: float) -> float:
    raise RuntimeError


@pytest.mark.parametrize(
    "backoff", [raising, *(lambda attempt, first, v=v: v for v in (0, -5, float("nan"), "x", None))]
)
def test_a_callable_that_fails_counts_as_constant(backoff: Backoff) -> None:
    assert plain(backoff, 3) == 10


def test_an_interval_may_be_short() -> None:
    assert plain("constant", 1, first=0.2) == 0.2
    assert plain(lambda attempt, first: first / 2, 1, first=0.2) == 0.1


def test_jitter_spreads_to_both_sides() -> None:
    assert [plain("constant", 1, jitter=0.1, u=u) for u in (0, 0.5, 0.75)] == [9, 10, 10.5]


def test_jitter_never_lifts_it_over_the_cap() -> None:
    assert plain("exponential", 50, jitter=0.5, u=0.99) == 900


@pytest.mark.parametrize(("asked", "seconds"), [(None, 10), (3, 10), (60, 60), (5000, 900)])
def test_a_retry_after_is_honoured_within_the_cap(asked: float | None, seconds: float) -> None:
    assert plain("constant", 1, retry_after=asked) == seconds


def test_jitter_never_shortens_a_retry_after() -> None:
    assert plain("constant", 1, retry_after=9.9, jitter=0.5, u=0.0) == 9.9


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="constant, exponential, linear, logarithmic or a callable"):
        check_backoff("fibonacci")


@given(
    growths,
    st.integers(1, 10**6),
    st.floats(0.001, 1e5),
    st.floats(1, 1e4),
    st.floats(0, 1),
    units,
    st.none() | st.floats(0, 1e9),
)
def test_the_interval_is_within_its_bounds(
    backoff: str, attempt: int, first: float, factor: float, jitter: float, u: float, asked: float | None
) -> None:
    cap = first * factor
    seconds = interval(backoff, attempt=attempt, first=first, cap=cap, jitter=jitter, u=u, retry_after=asked)
    assert 0 <= seconds <= cap
    assert seconds >= min(first, cap) * (1 - jitter) * 0.999
    assert seconds >= min(asked or 0, cap)


@given(growths, st.integers(1, 200), st.floats(0.1, 100))
def test_without_jitter_it_never_shrinks(backoff: str, attempt: int, first: float) -> None:
    assert plain(backoff, attempt, first=first) <= plain(backoff, attempt + 1, first=first)
