"""Values of the core, made up by Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from celery_breaker.core.policy import Policy
from celery_breaker.core.windows import Totals
from celery_breaker.testing.contract.values import names, overrides, records, times

__all__ = [
    "growths",
    "names",
    "overrides",
    "policies",
    "quick_policies",
    "records",
    "seconds",
    "times",
    "units",
    "windows_full",
]

units = st.floats(0, 1, exclude_max=True)
seconds = st.floats(0.001, 1e6)
growths = st.sampled_from(["exponential", "linear", "logarithmic", "constant"])


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Any policy that is allowed, as far as the state machine cares."""
    recovery = draw(st.floats(0.01, 1e4))
    return Policy(
        max_failures=draw(st.integers(1, 20)),
        failure_rate=draw(st.floats(0, 1)),
        failure_window=draw(st.floats(0.1, 1e4) | st.integers(20, 500).map("{} calls".format)),
        consecutive_failures=draw(st.none() | st.integers(1, 20)),
        min_workers=draw(st.integers(1, 3)),
        recovery_timeout=recovery,
        max_recovery_timeout=recovery * draw(st.floats(1, 1e3)),
        backoff=draw(growths),
        jitter=draw(st.floats(0, 1)),
        half_open_calls=draw(st.integers(1, 4)),
        success_threshold=draw(st.integers(1, 4)),
    )


@st.composite
def quick_policies(draw: st.DrawFn) -> Policy:
    """Policies under which much happens in few steps."""
    recovery = draw(st.floats(1, 60))
    return Policy(
        max_failures=draw(st.integers(1, 3)),
        failure_rate=draw(st.sampled_from([0.0, 0.3, 1.0])),
        failure_window=draw(st.sampled_from([60.0, 5.0, "10 calls", "100 calls"])),
        consecutive_failures=draw(st.none() | st.integers(1, 3)),
        min_workers=draw(st.sampled_from([1, 1, 1, 2])),
        recovery_timeout=recovery,
        max_recovery_timeout=recovery * draw(st.floats(1, 20)),
        backoff=draw(growths),
        jitter=draw(st.sampled_from([0.0, 0.1, 1.0])),
        half_open_calls=draw(st.integers(1, 2)),
        success_threshold=draw(st.integers(1, 3)),
    )


@st.composite
def windows_full(draw: st.DrawFn) -> Totals:
    """What a window may add up to."""
    calls = draw(st.integers(0, 200))
    failures = draw(st.integers(0, calls))
    return Totals(
        now=draw(times),
        calls=calls,
        failures=failures,
        slow=draw(st.integers(0, calls)),
        streak=draw(st.integers(0, failures)),
        workers=dict.fromkeys(draw(st.sets(st.sampled_from("abcd"))), 1) if failures else {},
    )
