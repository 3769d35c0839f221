"""Which record may follow which: what every write to the store is held against."""

from __future__ import annotations

from celery_breaker.core import machine
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Record, State, decode, encode

__all__ = ["LEGAL", "may_follow"]

LEGAL = frozenset(
    {
        (State.CLOSED, State.OPEN),
        (State.OPEN, State.HALF_OPEN),
        (State.HALF_OPEN, State.OPEN),
        (State.HALF_OPEN, State.CLOSED),
    }
)
"""The ways from state to state that are open to all but an operator."""


def may_follow(before: Record, after: Record, policy: Policy, *, now: float, operator: bool) -> None:
    """Assert that ``after`` may be written over ``before`` at ``now``, by an operator or by whoever else."""
    assert decode(encode(after), version=after.version) == after
    assert (after.name, after.version) == (before.name, before.version), "name and version are the store's business"
    assert after.generation - before.generation in (0, 1)
    if after.state is not before.state:
        assert after.generation == before.generation + 1, "each transition is a generation"
        assert (after.since, after.successes) == (now, 0)
    if not operator:
        _of_its_own_accord(before, after, now)
    if after.state is State.HALF_OPEN:
        assert after.successes < policy.success_threshold, "it should have closed"
    if after.state is State.OPEN and before.state is not State.OPEN:
        _opened(before, after, policy, now)
    if after.state is State.CLOSED and before.state is not State.CLOSED:
        assert after.draining, "a backlog would be left behind"
        assert after.until == 0.0


def _of_its_own_accord(before: Record, after: Record, now: float) -> None:
    assert after != before, "a write of nothing"
    assert (after.generation == before.generation) is (after.state is before.state)
    assert after.state is before.state or (before.state, after.state) in LEGAL
    mode = machine.mode_at(before, now)
    if mode is Mode.DISABLED:
        assert after.state is before.state, "disabled, it holds still"
    if mode is Mode.FORCED_OPEN:
        assert after.state is before.state or before.state is State.HALF_OPEN, "forced open, nothing is called"
    expired = before.override is not None and mode is Mode.AUTO
    assert after.override == before.override or (after.override is None and expired), "an override is sticky"


def _opened(before: Record, after: Record, policy: Policy, now: float) -> None:
    cap = policy.max_recovery_timeout
    seconds = after.until - now
    assert seconds <= cap * (1 + 1e-9) + 1e-6
    assert seconds >= min(policy.recovery_timeout, cap) * (1 - policy.jitter) * 0.999 - 1e-6
    assert after.trips == before.trips + 1 or (after.trips == 1 and before.state is State.CLOSED)
    assert (after.last_fault, after.ramp) == (now, 0.0)
    assert after.draining and after.reason
