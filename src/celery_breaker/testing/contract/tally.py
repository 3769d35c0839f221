"""Windows: what is added comes out, per generation, and leaves again."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from celery_breaker.core.windows import Delta, Totals, Window
from celery_breaker.stores.base import Store
from celery_breaker.testing.contract.access import DAY, FAILURE, SUCCESS, Opener, StoreAccess
from celery_breaker.testing.waiting import eventually

__all__ = ["TallyContract"]

MINUTE = Window(span=60.0)


def calls(number: int) -> Window:
    return Window(span=float(number), by_calls=True)


def add(store: Store, delta: Delta = FAILURE, window: Window = DAY, **more: Any) -> Totals:
    return store.tally("smtp", delta, window, **{"generation": 0, "worker": "a", **more})


def counts(totals: Totals) -> tuple[int, int, int]:
    return totals.calls, totals.failures, totals.slow


class TallyContract(StoreAccess):
    """Counts of calls that a fleet shares, in windows that slide."""

    def test_an_untouched_window_is_empty(self, store: Store) -> None:
        totals = add(store, Delta())
        assert (counts(totals), totals.streak, totals.workers) == ((0, 0, 0), 0, {})

    @pytest.mark.parametrize("window", [DAY, calls(1000)])
    def test_what_is_added_comes_out(self, store: Store, window: Window) -> None:
        add(store, Delta(calls=10, failures=3, slow=2, streak=1, unbroken=False), window)
        totals = add(store, Delta(calls=5, failures=5, slow=1, streak=5), window, worker="b")
        assert counts(totals) == (15, 8, 3)
        assert totals.streak == 6
        assert totals.workers == {"a": 3, "b": 5}

    def test_each_answer_includes_what_it_adds(self, store: Store) -> None:
        assert [add(store).failures for _ in range(4)] == [1, 2, 3, 4]

    def test_an_empty_delta_only_reads(self, store: Store) -> None:
        add(store)
        before = add(store, Delta())
        assert counts(add(store, Delta())) == counts(before) == (1, 1, 0)

    def test_breakers_do_not_mix(self, store: Store) -> None:
        add(store)
        assert store.tally("sms", Delta(), DAY, generation=0, worker="a").calls == 0

    def test_the_window_starts_afresh_with_a_generation(self, store: Store) -> None:
        add(store, Delta(calls=9, failures=9, streak=9))
        totals = add(store, generation=2)
        assert (counts(totals), totals.streak, totals.workers) == ((1, 1, 0), 1, {"a": 1})

    def test_a_late_delta_of_an_older_generation_is_dropped(self, store: Store) -> None:
        add(store, generation=2)
        late = add(store, Delta(calls=9, failures=9, streak=9), generation=1)
        assert (counts(late), late.streak) == ((0, 0, 0), 0)
        assert counts(add(store, Delta(), generation=2)) == (1, 1, 0)

    def test_looking_at_a_newer_generation_does_not_start_it(self, store: Store) -> None:
        add(store)
        assert counts(add(store, Delta(), generation=1)) == (0, 0, 0)
        assert counts(add(store, Delta(), generation=0)) == (1, 1, 0)

    # --- streaks ------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("outcomes", ["".join(each) for each in itertools.product("+-", repeat=5)])
    def test_the_streak_is_exact_however_the_calls_are_grouped(self, store: Store, outcomes: str) -> None:
        streak = len(outcomes) - len(outcomes.rstrip("-"))
        for number, size in enumerate((1, 2, 5)):
            totals = None
            for start in range(0, len(outcomes), size):
                delta = Delta()
                for outcome in outcomes[start : start + size]:
                    delta = delta.then(failed=outcome == "-", slow=False)
                totals = add(store, delta, generation=number)
            assert totals is not None and totals.streak == streak

    def test_the_streak_outlives_the_window(self, store: Store) -> None:
        for _ in range(4):
            add(store, window=calls(2))
        totals = add(store, window=calls(2))
        assert (totals.streak, totals.failures) == (5, 2)

    # --- windows that slide -------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("span", [1, 3, 9, 10, 25])
    def test_a_count_window_holds_the_last_calls(self, store: Store, span: int) -> None:
        for number in range(60):
            totals = add(store, FAILURE if number < 30 else SUCCESS, calls(span))
            width = max(1, span / 10)
            assert min(number + 1, span) - width < totals.calls <= span
        totals = add(store, SUCCESS, calls(span))
        assert (totals.failures, totals.workers) == (0, {})

    def test_many_calls_reported_at_once_take_no_more_room_than_a_bucket(self, store: Store) -> None:
        """Else the calls of a busy second would outweigh the failures after it for as long as the window has them."""
        add(store, Delta(calls=5, failures=5, streak=5), calls(100))
        assert counts(add(store, Delta(calls=1000, unbroken=False), calls(100))) == (10, 0, 0)
        assert counts(add(store, Delta(calls=10, failures=10, streak=10), calls(100))) == (20, 10, 0)

    def test_a_full_count_window_says_so(self, store: Store) -> None:
        for _ in range(24):
            add(store, window=calls(25))
        assert counts(add(store, window=calls(25))) == (25, 25, 0)

    def test_a_time_window_forgets_though_nobody_calls(self, store: Store) -> None:
        window = Window(span=0.5)
        assert add(store, window=window).failures == 1
        totals = eventually(lambda: (found := add(store, Delta(), window)).calls == 0 and found, interval=0.05)
        assert (totals.failures, totals.slow, totals.workers, totals.streak) == (0, 0, {}, 1)

    def test_a_time_window_forgets_bit_by_bit(self, store: Store) -> None:
        window = Window(span=1.0)
        first = add(store, window=window).now
        eventually(lambda: store.now() > first + 0.5, interval=0.05)
        second = add(store, window=window)
        assert second.failures == 2 or second.now > first + 0.9
        left = eventually(lambda: (found := add(store, Delta(), window)).calls < 2 and found, interval=0.02)
        assert left.failures == 1 or left.now > second.now + 0.9
        assert left.now > first + 0.85

    @pytest.mark.parametrize(("before", "after"), [(60, 600), (600, 60), (3600, 0.5)])
    def test_a_window_of_another_span_does_not_count_what_it_cannot_place(
        self, store: Store, before: float, after: float
    ) -> None:
        """After a deployment with another failure_window, the old counts must not stay for ever."""
        add(store, Delta(calls=9, failures=9, streak=9), Window(span=float(before)))
        totals = add(store, window=Window(span=float(after)))
        assert (counts(totals), totals.workers) == ((1, 1, 0), {"a": 1})

    @pytest.mark.parametrize(("before", "after"), [(MINUTE, calls(100)), (calls(100), MINUTE)])
    def test_a_window_of_another_kind_starts_afresh(self, store: Store, before: Window, after: Window) -> None:
        add(store, Delta(calls=9, failures=9, streak=9), before)
        assert add(store, window=after).failures == 1

    # --- who saw it ---------------------------------------------------------------------------------------------------

    def test_workers_without_a_failure_are_not_listed(self, store: Store) -> None:
        add(store, SUCCESS, worker="well")
        assert add(store, FAILURE, worker="sick").workers == {"sick": 1}

    @pytest.mark.parametrize("worker", ["host:1", "c:5:x", "日本", "a b", "x" * 300, "line\nbreak"])
    def test_a_worker_may_have_any_name(self, store: Store, worker: str) -> None:
        add(store, worker=worker)
        assert add(store, worker=worker).workers == {worker: 2}

    def test_a_thousand_workers_are_counted(self, store: Store) -> None:
        for number in range(999):
            add(store, worker=f"w{number}")
        totals = add(store, worker="w999")
        assert (len(totals.workers), totals.failures) == (1000, 1000)

    def test_large_deltas_keep_their_value(self, connect: Opener) -> None:
        add(connect(), Delta(calls=10**9, failures=10**8, unbroken=False))
        assert counts(add(connect(), Delta(calls=1))) == (10**9 + 1, 10**8, 0)
