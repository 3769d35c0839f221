"""The simulated store against the one in memory, which passes the contract of all stores."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.clock import ManualClock
from celery_breaker.core.record import Record
from celery_breaker.core.windows import Delta, Window
from celery_breaker.simulation.store import SimulatedStore
from celery_breaker.simulation.timeline import Timeline
from celery_breaker.stores.memory import MemoryStore

WINDOWS = st.one_of(
    st.floats(0.5, 120).map(lambda span: Window(span=span)),
    st.integers(1, 50).map(lambda calls: Window(span=float(calls), by_calls=True)),
)
OUTCOMES = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=12)
STEPS = st.lists(st.tuples(st.floats(0, 30), st.integers(0, 3), st.sampled_from("abc"), OUTCOMES), max_size=25)


class Both:
    """A real store and a simulated one, on one time."""

    def __init__(self, window: Window) -> None:
        self.clock = ManualClock()
        self.timeline = Timeline()
        self.operations: Counter[str] = Counter()
        self.window = window
        self.real = MemoryStore(self.clock)
        self.simulated = SimulatedStore(self.timeline, Record(name="x"), window, self._count)

    def _count(self, kind: str, count: int) -> None:
        self.operations[kind] += count

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.timeline.run(until=self.clock())


def delta_of(outcomes: list[tuple[bool, bool]]) -> Delta:
    delta = Delta()
    for failed, slow in outcomes:
        delta = delta.then(failed=failed, slow=slow)
    return delta


@given(WINDOWS, STEPS)
def test_a_window_adds_up_to_the_same(
    window: Window, steps: list[tuple[float, int, str, list[tuple[bool, bool]]]]
) -> None:
    both = Both(window)
    for seconds, generation, worker, outcomes in steps:
        both.pass_time(seconds)
        delta = delta_of(outcomes)
        real = both.real.tally("x", delta, window, generation=generation, worker=worker)
        both.simulated.tally(delta, generation=generation, worker=worker)
        assert both.simulated.totals(generation, workers=100) == real
    assert both.operations["tally"] == len(steps)


@given(st.lists(st.tuples(st.floats(0, 4), st.sampled_from("abcd"), st.booleans()), max_size=30), st.integers(1, 3))
def test_leases_are_held_and_run_out_alike(steps: list[tuple[float, str, bool]], limit: int) -> None:
    both = Both(Window(span=60.0))
    for seconds, holder, gives_back in steps:
        both.pass_time(seconds)
        if gives_back:
            both.real.release("key", holder)
            both.simulated.release("key", holder)
        else:
            answer = both.real.lease("key", holder, limit=limit, ttl=5.0)
            assert both.simulated.lease("key", holder, limit=limit, ttl=5.0) == answer


def test_a_swap_of_an_old_version_is_lost_and_counted() -> None:
    both = Both(Window(span=60.0))
    assert both.simulated.swap(Record(name="x", generation=1), expected=0)
    assert not both.simulated.swap(Record(name="x", generation=2), expected=0)
    assert (both.simulated.record.generation, both.simulated.record.version) == (1, 1)
    assert both.operations["swap"] == 2
