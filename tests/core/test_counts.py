"""The window as one value, held against a list of all that was ever told it, added up the slow way."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.core.counts import Counts
from celery_breaker.core.windows import Delta, Totals, Window
from celery_breaker.testing.contract.values import deltas

MINUTE = Window(span=60.0)
TEN = Window(span=10.0, by_calls=True)
HUNDRED = Window(span=100.0, by_calls=True)
FAILED = Delta(calls=1, failures=1, streak=1)
PASSED = Delta(calls=1, unbroken=False)

Told = tuple[float, Delta, str]
told = st.lists(st.tuples(st.floats(0, 20), deltas(), st.sampled_from("abc")), max_size=12)


def counted(window: Window, *history: Told, generation: int = 0) -> tuple[Counts, Totals]:
    """Counts that were told all this, at these times, and what they add up to at the last."""
    counts, totals = Counts(), Totals(now=0.0)
    for now, delta, worker in history:
        totals = counts.tally(delta, window, generation=generation, worker=worker, now=now)
    return counts, totals


def added_up(window: Window, history: list[Told]) -> Totals:
    """The same from the definition: what is in one of the window's buckets counts."""
    calls = streak = 0
    placed = []
    for now, delta, worker in history:
        calls += delta.calls
        if delta.calls:
            streak = streak + delta.streak if delta.unbroken else delta.streak
            placed.append((window.bucket_at(now, calls), delta, worker))
    last = history[-1][0] if history else 0.0
    current = window.bucket_at(last, calls)
    live = [(delta, worker) for index, delta, worker in placed if current - window.buckets < index <= current]
    workers: dict[str, int] = {}
    for delta, worker in live:
        if delta.failures:
            workers[worker] = workers.get(worker, 0) + delta.failures
    return Totals(
        now=last,
        calls=sum(window.counted(delta) for delta, _ in live),
        failures=sum(delta.failures for delta, _ in live),
        slow=sum(delta.slow for delta, _ in live),
        streak=streak,
        workers=workers,
    )


@given(told, st.sampled_from([MINUTE, Window(span=1.0), TEN, HUNDRED, Window(span=3.0, by_calls=True)]))
def test_it_adds_up_what_is_in_the_window(pauses: list[Told], window: Window) -> None:
    now, history = 1_000.0, []
    for pause, delta, worker in pauses:
        now += pause
        history.append((now, delta, worker))
    if history:
        assert counted(window, *history)[1] == added_up(window, history)


@given(told, st.sampled_from([MINUTE, TEN]))
def test_what_is_written_is_read_and_goes_on_as_it_would_have(pauses: list[Told], window: Window) -> None:
    counts, _ = counted(window, *pauses, generation=3)
    again = Counts.decode(counts.encode())
    assert again == counts
    last = max([1_000.0, *(now for now, _, _ in pauses)])
    tell = {"generation": 3, "worker": "z", "now": last}
    assert again.tally(FAILED, window, **tell) == counts.tally(FAILED, window, **tell)  # type: ignore[arg-type]


def test_a_call_leaves_the_window_bucket_by_bucket() -> None:
    counts, totals = counted(MINUTE, (0.0, FAILED, "a"), (30.0, FAILED, "b"))
    assert (totals.failures, totals.workers) == (2, {"a": 1, "b": 1})
    later = counts.tally(Delta(), MINUTE, generation=0, worker="a", now=60.0)
    assert (later.failures, later.workers) == (1, {"b": 1})
    assert counts.tally(Delta(), MINUTE, generation=0, worker="a", now=90.0).failures == 0


def test_what_has_left_the_window_is_not_kept() -> None:
    counts, _ = counted(MINUTE, (0.0, FAILED, "a"), (30.0, PASSED, "a"), (61.0, FAILED, "b"))
    assert sorted(counts.buckets) == [5, 10]
    assert counts.workers == {10: {"b": 1}}


def test_what_lies_in_the_future_is_of_another_window_and_not_kept() -> None:
    counts, _ = counted(Window(span=1.0), (1_000.0, FAILED, "a"))
    assert counts.tally(PASSED, MINUTE, generation=0, worker="a", now=1_000.0).failures == 0
    assert list(counts.buckets) == [166]


def test_a_newer_generation_starts_afresh_and_an_older_one_is_not_heard() -> None:
    counts, _ = counted(MINUTE, (1.0, FAILED, "a"), generation=3)
    assert counts.tally(FAILED, MINUTE, generation=2, worker="a", now=1.0) == Totals(now=1.0)
    assert counts.generation == 3
    fresh = counts.tally(FAILED, MINUTE, generation=4, worker="b", now=2.0)
    assert (fresh.calls, fresh.failures, fresh.streak, fresh.workers) == (1, 1, 1, {"b": 1})
    assert (counts.generation, counts.calls, counts.streak) == (4, 1, 1)


def test_looking_begins_no_generation() -> None:
    counts, _ = counted(MINUTE, (1.0, FAILED, "a"), generation=3)
    assert counts.tally(Delta(), MINUTE, generation=4, worker="a", now=1.0) == Totals(now=1.0)
    assert counts.tally(Delta(), MINUTE, generation=3, worker="a", now=1.0).failures == 1


def test_a_success_ends_the_streak_and_the_window_does_not() -> None:
    counts, totals = counted(MINUTE, (0.0, FAILED, "a"), (200.0, FAILED, "b"))
    assert (totals.streak, totals.failures) == (2, 1)
    assert counts.tally(PASSED, MINUTE, generation=0, worker="a", now=200.0).streak == 0


def test_a_worker_without_a_failure_is_not_listed() -> None:
    assert counted(MINUTE, (0.0, PASSED, "a"), (0.0, FAILED, "b"))[1].workers == {"b": 1}


def test_the_last_ten_calls_are_the_last_ten() -> None:
    counts, _ = counted(TEN, *[(0.0, FAILED, "a")] * 10)
    for passed in range(1, 11):
        assert counts.tally(PASSED, TEN, generation=0, worker="a", now=0.0).failures == 10 - passed


def test_each_worker_is_written_but_once() -> None:
    counts, _ = counted(MINUTE, *[(float(now), FAILED, "a-long-name") for now in range(0, 54, 6)])
    assert counts.encode().count("a-long-name") == 1
    assert counts.encode().isascii()


def test_the_written_form_is_that_of_the_first_release() -> None:
    counts, _ = counted(MINUTE, (6.0, FAILED, "a"), (12.0, Delta(calls=3, slow=2, unbroken=False), "b"), generation=7)
    text = '[7,4,0,[[1,1,1,0],[2,3,0,2]],{"a":[1,1]}]'
    assert counts.encode() == text
    assert Counts.decode(text) == counts


def test_what_a_newer_release_adds_is_ignored() -> None:
    assert Counts.decode('[7,4,0,[[1,1,1,0,"more"]],{"a":[1,1]},"and more"]') == Counts(
        7, 4, 0, {1: [1, 1, 0]}, {1: {"a": 1}}
    )


GOOD = [7, 4, 0, [[1, 1, 1, 0]], {"a": [1, 1]}]


@pytest.mark.parametrize(
    "wrong",
    [
        "", "garbage", "{}", "[]", "7", "null", "[7,4,0,[]]", "[7,4,0,[],[]]", "[7,4,0,7,{}]", '[7,4,0,[],{"a":7}]',
        '[7,4,0,[],{"a":[1]}]', "[7,4,0,[[1,1]],{}]", "[7,4,0,[7],{}]", '[7,4,0,[],{"a":[1,2,3]}]', b"\xff",
        *(json.dumps([*GOOD[:place], value, *GOOD[place + 1 :]]) for place in range(3) for value in
          (None, "7", 1.5, True, math.inf, 2**53, -(2**53))),
        *(json.dumps([7, 4, 0, [[*[1, 1, 1, 0][:place], value, *[1, 1, 1, 0][place + 1 :]]], {}])
          for place in range(4) for value in (None, "7", 1.5, True, 2**53)),
        *(f'[7,4,0,[],{{"a":[{pair}]}}]' for pair in ("null,1", "1,null", "1.5,1", "1,1.5", "true,1", f"1,{2**53}")),
        "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_foreign_is_refused_with_one_kind_of_error(wrong: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the kind is all that is promised
        Counts.decode(wrong)


def test_the_largest_numbers_that_are_exact_everywhere_are_read() -> None:
    largest = 2**53 - 1
    counts = Counts.decode(json.dumps([largest, largest, largest, [[-largest, largest, 0, 0]], {"a": [1, largest]}]))
    assert (counts.generation, counts.workers) == (largest, {1: {"a": largest}})


def test_a_fresh_one_has_seen_no_generation() -> None:
    assert Counts() == Counts(-1, 0, 0, {}, {})
    assert Counts().tally(FAILED, MINUTE, generation=0, worker="a", now=0.0).calls == 1
