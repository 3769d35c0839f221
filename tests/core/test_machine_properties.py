"""A whole fleet against the pure core: stale views, late answers, permits, operators, and time that passes.

The model keeps one record, as a store would, and every record there ever was, as views that lag behind would. What
a breaker must never do, whatever happens in whatever order, is asserted where the record changes and after each step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from celery_breaker.core import machine
from celery_breaker.core.machine import Admission
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Record, State, decode, encode
from celery_breaker.core.windows import Totals
from tests.core.strategies import policies, units

MODES = st.sampled_from([Mode.FORCED_OPEN, Mode.DISABLED, Mode.OBSERVING])


@dataclass(frozen=True)
class Call:
    """A call under way: the generation it was admitted in, and the permit it holds, with the end of its lease."""

    generation: int
    permit_until: float | None = None


class Fleet(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000.0
        self.record = Record(name="smtp")
        self.seen = [self.record]
        self.calls: list[Call] = []
        self.window: dict[int, list[bool]] = {}
        self.policy = Policy()

    @initialize(policy=policies())
    def take_policy(self, policy: Policy) -> None:
        self.policy = policy

    def move(self, after: Record, *, operator: bool = False) -> None:
        """Write a record as a store would, and check what may have changed."""
        before, self.record = self.record, after
        if after is before:
            return
        assert decode(encode(after), version=after.version) == after
        assert operator or after != before, "a write of nothing"
        assert after.generation - before.generation in (0, 1)
        if not operator:
            assert (after.generation == before.generation) is (after.state is before.state)
            expired = before.override is not None and machine.mode_at(before, self.now) is Mode.AUTO
            assert after.override == before.override or (after.override is None and expired)
        elif after.state is not before.state:
            assert after.generation == before.generation + 1
        if after.state is State.OPEN and before.state is not State.OPEN:
            limit = self.policy.max_recovery_timeout
            assert 0 <= after.until - self.now <= limit * (1 + 1e-9) + 1e-6
            assert after.trips >= 1 and after.draining
        if after.state is State.CLOSED and before.state is not State.CLOSED:
            assert after.draining, "a backlog would be left behind"
        legal = {
            (State.CLOSED, State.OPEN),
            (State.OPEN, State.HALF_OPEN),
            (State.HALF_OPEN, State.OPEN),
            (State.HALF_OPEN, State.CLOSED),
        }
        assert operator or after.state is before.state or (before.state, after.state) in legal
        self.record = replace(after, version=before.version + 1)
        self.seen.append(self.record)

    # --- what happens -------------------------------------------------------------------------------------------------

    @rule(seconds=st.floats(0, 100) | st.floats(0, 1e5))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(data=st.data())
    def a_call_asks(self, data: st.DataObject) -> None:
        """By a view that may be as old as the breaker."""
        back = data.draw(st.sampled_from([0, 0, 0, 1, 2, 5]))
        view = self.seen[max(0, len(self.seen) - 1 - back)]
        said = machine.admission(view, self.policy, self.now)
        if view is self.record:
            mode = machine.mode_at(view, self.now)
            waits = view.state is State.OPEN and self.now < view.until
            assert not (mode is Mode.AUTO and waits and said is not Admission.REFUSE)
            assert not (mode is Mode.FORCED_OPEN and said is not Admission.REFUSE)
            assert (said is Admission.PERMIT) <= (view.state is not State.CLOSED)
            self.move(machine.half_opened(self.record, now=self.now))
            view = self.record
        if said is Admission.ADMIT:
            self.calls.append(Call(view.generation))
        elif said is Admission.PERMIT:
            held = [call for call in self.calls if call.generation == view.generation and self.holds(call)]
            if len(held) < self.policy.half_open_calls:
                self.calls.append(Call(view.generation, self.now + 60))

    def holds(self, call: Call) -> bool:
        return call.permit_until is not None and call.permit_until > self.now

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), failed=st.sampled_from([True, True, False]), u=units)
    def a_call_ends(self, data: st.DataObject, failed: bool, u: float) -> None:
        """At any time, in any order: an answer may be older than several transitions."""
        call = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        before = self.record
        if before.state is State.HALF_OPEN:
            if failed:
                after = machine.probe_failed(
                    before, self.policy, generation=call.generation, now=self.now, u=u, reason="probe failed"
                )
            else:
                after = machine.probe_succeeded(before, self.policy, generation=call.generation, now=self.now)
        else:
            totals = self.counted(call.generation, failed)
            after = before
            if failed and call.generation == before.generation:
                after = machine.tripped(before, totals, self.policy, now=self.now, u=u)
        assert call.generation == before.generation or after is before, "a late answer moved the state"
        self.move(after)

    def counted(self, generation: int, failed: bool) -> Totals:
        """A window per generation, which forgets nothing within it: the core must not care."""
        seen = self.window.setdefault(generation, [])
        seen.append(failed)
        streak = next((n for n, each in enumerate(reversed(seen)) if not each), len(seen))
        workers = {"a": sum(seen), "b": 1, "c": 1} if any(seen) else {}
        return Totals(now=self.now, calls=len(seen), failures=sum(seen), streak=streak, workers=workers)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def a_call_is_lost_or_says_nothing(self, data: st.DataObject) -> None:
        del self.calls[data.draw(st.integers(0, len(self.calls) - 1))]

    @rule()
    def the_agent_looks(self) -> None:
        self.move(machine.relax(self.record, now=self.now))
        self.move(machine.half_opened(self.record, now=self.now))

    @rule()
    def the_interval_ends(self) -> None:
        self.now = max(self.now, self.record.until)
        self.the_agent_looks()

    @rule(healthy=st.booleans(), u=units)
    def a_health_check_ends(self, healthy: bool, u: float) -> None:
        self.move(machine.health_checked(self.record, self.policy, healthy=healthy, now=self.now, u=u, reason="check"))

    @rule(rate=st.floats(0, 100), done=st.booleans())
    def the_backlog_moves(self, rate: float, done: bool) -> None:
        self.move(machine.drained(self.record) if done else machine.ramped(self.record, rate))

    @rule()
    def a_task_is_parked(self) -> None:
        self.move(machine.expect_backlog(self.record))

    @rule(mode=MODES, expires_in=st.none() | st.floats(0.1, 1000))
    def the_operator_overrides(self, mode: Mode, expires_in: float | None) -> None:
        state = self.record.state
        self.move(machine.override(self.record, mode, now=self.now, expires_in=expires_in), operator=True)
        assert self.record.state is state and machine.mode_at(self.record, self.now) is mode

    @rule()
    def the_operator_lifts(self) -> None:
        self.move(machine.override(self.record, Mode.AUTO, now=self.now), operator=True)
        assert machine.mode_at(self.record, self.now) is Mode.AUTO

    @rule()
    def the_operator_closes(self) -> None:
        self.move(machine.close(self.record, now=self.now), operator=True)
        assert machine.admission(self.record, self.policy, self.now) is Admission.ADMIT

    @rule()
    def the_operator_resets(self) -> None:
        self.move(machine.reset(self.record, now=self.now), operator=True)
        assert (self.record.state, self.record.mode, self.record.trips) == (State.CLOSED, Mode.AUTO, 0)

    # --- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def generations_and_versions_never_decrease(self) -> None:
        generations = [record.generation for record in self.seen[-3:]]
        versions = [record.version for record in self.seen[-3:]]
        assert generations == sorted(generations) and versions == sorted(set(versions))

    @invariant()
    def a_breaker_can_always_say_when_to_come_again(self) -> None:
        seconds = machine.retry_after(self.record, self.now)
        mode = machine.mode_at(self.record, self.now)
        assert (seconds is None) <= (mode is Mode.FORCED_OPEN)
        assert seconds is None or seconds >= 0
        if mode is Mode.AUTO:
            assert seconds is not None and seconds <= self.policy.max_recovery_timeout * (1 + 1e-9) + 1e-6

    @invariant()
    def no_breaker_is_stuck(self) -> None:
        """Left to itself, with a service that is well, it closes: expiry, interval, probes."""
        record, now = self.record, self.now
        if record.override is not None and record.override.expires is None:
            return
        now = max(now, record.override.expires or 0.0) if record.override else now
        record = machine.relax(record, now=now)
        now = max(now, record.until)
        record = machine.half_opened(record, now=now)
        for _ in range(self.policy.success_threshold):
            record = machine.probe_succeeded(record, self.policy, generation=record.generation, now=now)
        assert machine.admission(record, self.policy, now) is Admission.ADMIT

    @invariant()
    def permits_are_within_their_limit(self) -> None:
        for generation in {call.generation for call in self.calls}:
            held = [call for call in self.calls if call.generation == generation and self.holds(call)]
            assert len(held) <= self.policy.half_open_calls


TestFleet = Fleet.TestCase
