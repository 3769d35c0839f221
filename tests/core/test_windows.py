"""Windows: which bucket a call falls into, and deltas that add up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.core.windows import BUCKETS, Delta, Window, parse_window
from celery_breaker.errors import ConfigurationError


@pytest.mark.parametrize(
    ("value", "window"),
    [
        (60, Window(span=60.0)),
        (0.5, Window(span=0.5)),
        ("100 calls", Window(span=100.0, by_calls=True)),
        (" 1 call ", Window(span=1.0, by_calls=True)),
        ("20calls", Window(span=20.0, by_calls=True)),
    ],
)
def test_a_window_is_seconds_or_calls(value: float | str, window: Window) -> None:
    assert parse_window(value) == window


@pytest.mark.parametrize("value", ["", "calls", "-5 calls", "1.5 calls", "60 s", True, None, [], "٣ calls x"])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match="is neither seconds nor like '100 calls'"):
        parse_window(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "buckets", "width"),
    [(60, 10, 6.0), (0.5, 10, 0.05), ("100 calls", 10, 10.0), ("25 calls", 10, 2.5), ("7 calls", 7, 1.0)],
)
def test_a_window_has_ten_buckets_or_one_for_each_of_a_few_calls(
    value: float | str, buckets: int, width: float
) -> None:
    window = parse_window(value)
    assert (window.buckets, window.width) == (buckets, width)


@given(st.floats(0.01, 1e5), st.floats(0, 2e9), st.floats(0, 2))
def test_a_call_leaves_a_time_window_between_nine_and_ten_tenths_of_its_span(
    span: float, now: float, share: float
) -> None:
    window = Window(span=span)
    later = now + share * span
    inside = window.bucket_at(now, 0) > window.bucket_at(later, 0) - window.buckets
    if later - now < span * 0.899:
        assert inside
    if later - now > span * 1.001 and now * 1e-12 < span:
        assert not inside


@given(st.integers(1, 500), st.integers(1, 5000))
def test_a_count_window_holds_no_more_calls_than_it_says_and_no_fewer_than_nine_tenths(span: int, calls: int) -> None:
    window = Window(span=float(span), by_calls=True)
    oldest = window.bucket_at(0, calls) - window.buckets
    held = sum(window.bucket_at(0, number) > oldest for number in range(1, calls + 1))
    assert held <= span
    assert held >= min(calls, span) - max(0, span / BUCKETS)


@pytest.mark.parametrize("span", [*range(1, 10), 10, 15, 19, 25, 99, 100, 101])
def test_a_count_window_can_be_full(span: int) -> None:
    window = Window(span=float(span), by_calls=True)
    oldest = window.bucket_at(0, span) - window.buckets
    assert all(window.bucket_at(0, number) > oldest for number in range(1, span + 1))


@pytest.mark.parametrize("span", range(1, 10))
def test_a_window_of_few_calls_is_exact(span: int) -> None:
    window = Window(span=float(span), by_calls=True)
    for calls in range(1, 40):
        oldest = window.bucket_at(0, calls) - window.buckets
        held = [number for number in range(1, calls + 1) if window.bucket_at(0, number) > oldest]
        assert held == list(range(max(1, calls - span + 1), calls + 1))


outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30)


@given(outcomes)
def test_a_delta_is_what_happened(calls: list[tuple[bool, bool]]) -> None:
    delta = Delta()
    for failed, slow in calls:
        delta = delta.then(failed=failed, slow=slow)
    streak = 0
    for failed, _ in reversed(calls):
        if not failed:
            break
        streak += 1
    assert (delta.calls, delta.failures) == (len(calls), sum(failed for failed, _ in calls))
    assert delta.slow == sum(slow for _, slow in calls)
    assert delta.streak == streak
    assert delta.unbroken is all(failed for failed, _ in calls)


@given(outcomes, outcomes)
def test_deltas_add_up_as_if_each_call_had_been_told_alone(
    before: list[tuple[bool, bool]], after: list[tuple[bool, bool]]
) -> None:
    one, other, both = Delta(), Delta(), Delta()
    for failed, slow in before:
        one, both = one.then(failed=failed, slow=slow), both.then(failed=failed, slow=slow)
    for failed, slow in after:
        other, both = other.then(failed=failed, slow=slow), both.then(failed=failed, slow=slow)
    assert one.plus(other) == both


@pytest.mark.parametrize(
    ("value", "delta", "counted"),
    [
        (60, Delta(calls=500), 500),
        ("100 calls", Delta(calls=4), 4),
        ("100 calls", Delta(calls=500), 10),
        ("100 calls", Delta(calls=500, failures=30), 30),
        ("100 calls", Delta(calls=500, slow=40, failures=30), 40),
    ],
)
def test_a_bucket_of_calls_takes_its_share_and_whatever_matters(value: float | str, delta: Delta, counted: int) -> None:
    assert parse_window(value).counted(delta) == counted


@pytest.mark.parametrize(("value", "pause"), [(5, 1.0), (20, 2.0), (3600, 5.0), ("100 calls", 1.0)])
def test_successes_wait_a_bucket_at_the_most_and_never_long(value: float | str, pause: float) -> None:
    assert parse_window(value).pause(1.0) == pause
