"""Records and deltas, made up by Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from celery_breaker.core.record import Mode, Override, Record, State
from celery_breaker.core.windows import Delta

__all__ = ["deltas", "names", "overrides", "records", "times"]

names = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20)
times = st.floats(0, 4e9)

overrides = st.builds(
    Override,
    mode=st.sampled_from([Mode.FORCED_OPEN, Mode.DISABLED, Mode.OBSERVING]),
    since=times,
    expires=st.none() | times,
    reason=st.text(max_size=10),
    by=st.text(max_size=10),
)
options = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e6, 1e6) | st.text(max_size=10)
tunings = st.dictionaries(st.text(max_size=10), options, max_size=3).map(lambda given: tuple(sorted(given.items())))
records = st.builds(
    Record,
    name=names,
    state=st.sampled_from(State),
    generation=st.integers(0, 10**9),
    version=st.integers(0, 10**9),
    since=times,
    until=times,
    trips=st.integers(0, 10**4),
    successes=st.integers(0, 100),
    last_fault=st.none() | times,
    reason=st.text(max_size=20),
    override=st.none() | overrides,
    draining=st.booleans(),
    ramp=st.floats(0, 1e4),
    tuning=tunings,
)


@st.composite
def deltas(draw: st.DrawFn) -> Delta:
    """What a worker may report in one go."""
    calls = draw(st.integers(0, 12))
    failures = draw(st.integers(0, calls))
    unbroken = failures == calls
    streak = failures if unbroken else draw(st.integers(0, failures))
    return Delta(calls=calls, failures=failures, slow=draw(st.integers(0, calls)), streak=streak, unbroken=unbroken)
