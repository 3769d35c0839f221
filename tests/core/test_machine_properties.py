"""A whole fleet against the pure core: stale views, late answers, permits, operators, and time that passes and jumps.

Three workers share a store. Each has a view that is as old as it likes, a clock that is a little off, and calls that
end when they like; what it wants to change it tries on its view first, loses if that is old, reads, and tries again.
What a breaker must never do, whatever happens in whatever order, is asserted where the record is written
(`may_follow`) and after each step. `CELERY_BREAKER_CHAOS=long` takes at least 50,000 steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from celery_breaker.core import machine
from celery_breaker.core.machine import Admission
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Record, State
from celery_breaker.core.windows import Delta
from celery_breaker.stores.memory import MemoryStore
from tests.chaos.chance import LONG
from tests.core.following import may_follow
from tests.core.strategies import policies, quick_policies, units

LEASE = 60.0
MAX_SKEW = 3.0
WORKERS = 3
workers = st.integers(0, WORKERS - 1)


@dataclass
class Worker:
    """A process: its view of the record, and by how many seconds its idea of the store's time is off."""

    name: str
    view: Record
    skew: float = 0.0


@dataclass(eq=False)
class Call:
    """A call under way: who makes it, the generation it was admitted in, and its permit, which may have lapsed."""

    worker: Worker
    generation: int
    permit: str = ""
    until: float = 0.0
    lapsed: bool = False


Step = Callable[[Record, float], Record]


class Fleet(RuleBasedStateMachine):
    steps: ClassVar[int] = 0
    happened: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.now = self.latest = 1_000_000.0
        self.store = MemoryStore(lambda: self.now)
        self.history = [self.record]
        self.workers = [Worker(name, self.record) for name in "abc"]
        self.calls: list[Call] = []
        self.failures: Counter[int] = Counter()
        self.policy = Policy()
        self.checked = 0

    def teardown(self) -> None:
        Fleet.steps += max(0, self.checked - 1)  # the first look comes before the first step

    @initialize(
        policy=st.one_of(quick_policies(), quick_policies(), policies()),
        skews=st.tuples(*[st.floats(-MAX_SKEW, MAX_SKEW)] * WORKERS),
        outage=st.sampled_from([True, True, False]),
    )
    def begin(self, policy: Policy, skews: tuple[float, ...], outage: bool) -> None:
        self.policy = policy
        for number, (worker, skew) in enumerate(zip(self.workers, skews, strict=True)):
            worker.skew = skew
            if outage:
                self.the_service_is_down(number, True, 20, 0.5)

    # --- the way of a change ------------------------------------------------------------------------------------------

    @property
    def record(self) -> Record:
        """What the store has."""
        return self.store.read(["smtp"]).records["smtp"]

    def clock(self, worker: Worker) -> float:
        """The store's time, as this worker takes it."""
        return self.now + worker.skew

    def change(self, worker: Worker, step: Step, *, ticket: int | None = None, operator: bool = False) -> bool:
        """Compare-and-set on the worker's view, which may be old; whether anything was written."""
        while True:
            before, now = worker.view, self.clock(worker)
            after = step(before, now)
            if after is before:
                return False
            if self.store.swap(after, expected=before.version):
                break
            self.happened["a swap was lost"] += 1
            worker.view = self.record
        may_follow(before, after, self.policy, now=now, operator=operator)
        assert ticket in (None, before.generation), "a late answer moved the state"
        if after.state is State.OPEN and before.state is State.CLOSED:
            assert self.failures[before.generation] >= 1, "failures of another generation tripped it"
        self.happened[f"{before.state} to {after.state}"] += 1
        worker.view = self.record
        assert worker.view.version == before.version + 1
        self.history.append(worker.view)
        return True

    # --- time ---------------------------------------------------------------------------------------------------------

    @rule(seconds=st.floats(0, 100) | st.floats(0, 1e5))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.latest = max(self.latest, self.now)
        for call in self.calls:
            if call.permit and not call.lapsed and call.until <= self.now:
                call.lapsed = True
                self.happened["a lease lapsed"] += 1

    @precondition(lambda self: self.record.state is State.OPEN)
    @rule(number=workers)
    def the_interval_ends(self, number: int) -> None:
        self.time_passes(max(0.0, self.record.until - self.now) + MAX_SKEW)
        self.the_agent_looks(number)

    @precondition(lambda self: self.calls)
    @rule(seconds=st.floats(-2000, 2000))
    def the_store_s_clock_jumps(self, seconds: float) -> None:
        self.time_passes(seconds)

    # --- calls --------------------------------------------------------------------------------------------------------

    @rule(number=workers)
    def a_worker_reads(self, number: int) -> None:
        self.workers[number].view = self.record

    @rule(number=workers, reads=st.booleans())
    def a_call_asks(self, number: int, reads: bool) -> None:
        worker = self.workers[number]
        if reads:
            worker.view = self.record
        if machine.due(worker.view, self.clock(worker)):
            self.change(worker, lambda record, now: machine.half_opened(record, now=now))
        view, now = worker.view, self.clock(worker)
        said, mode = machine.admission(view, self.policy, now), machine.mode_at(view, now)
        if mode is Mode.FORCED_OPEN or (mode is Mode.AUTO and view.state is State.OPEN and now < view.until):
            assert said is Admission.REFUSE
        elif mode is Mode.AUTO and view.state is State.HALF_OPEN:
            assert said is Admission.PERMIT
        else:
            assert said is Admission.ADMIT
        if said is Admission.ADMIT:
            self.calls.append(Call(worker, view.generation))
        elif said is Admission.PERMIT:
            self.a_permit_is_asked_for(worker)

    def a_permit_is_asked_for(self, worker: Worker) -> None:
        generation, holder = worker.view.generation, f"{worker.name}{self.checked}"
        if self.store.lease(f"{generation}", holder, limit=self.policy.half_open_calls, ttl=LEASE):
            self.calls.append(Call(worker, generation, holder, self.now + LEASE))
        else:
            self.happened["a permit was not to be had"] += 1

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), failed=st.booleans(), u=units)
    def a_call_ends(self, data: st.DataObject, failed: bool, u: float) -> None:
        """At any time, in any order: an answer may be older than several transitions."""
        call = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        worker, ticket = call.worker, call.generation
        if ticket != self.record.generation:
            self.happened["a late answer"] += 1
        if worker.view.state is State.HALF_OPEN:

            def settle(record: Record, now: float) -> Record:
                if failed:
                    return machine.probe_failed(record, self.policy, generation=ticket, now=now, u=u, reason="down")
                return machine.probe_succeeded(record, self.policy, generation=ticket, now=now)

            self.change(worker, settle, ticket=ticket)
        elif ticket == worker.view.generation:
            self.count(worker, ticket, 1, failed, u)
        if call.permit:
            self.store.release(f"{ticket}", call.permit)

    def count(self, worker: Worker, ticket: int, times: int, failed: bool, u: float) -> None:
        failures = times if failed else 0
        delta = Delta(calls=times, failures=failures, streak=failures, unbroken=failed)
        self.failures[ticket] += failures
        totals = self.store.tally("smtp", delta, self.policy.window, generation=ticket, worker=worker.name)

        def trip(record: Record, now: float) -> Record:
            if record.generation != ticket:
                return record
            return machine.tripped(record, totals, self.policy, now=now, u=u)

        if failed:
            self.change(worker, trip, ticket=ticket)

    @rule(number=workers, reads=st.booleans(), times=st.integers(1, 20), u=units)
    def the_service_is_down(self, number: int, reads: bool, times: int, u: float) -> None:
        worker = self.workers[number]
        if reads:
            worker.view = self.record
        if machine.admission(worker.view, self.policy, self.clock(worker)) is Admission.ADMIT:
            self.count(worker, worker.view.generation, times, True, u)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), given_back=st.booleans())
    def a_call_is_lost_or_says_nothing(self, data: st.DataObject, given_back: bool) -> None:
        call = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        if given_back and call.permit:
            self.store.release(f"{call.generation}", call.permit)

    # --- the agent, and operators, on whose view they like ------------------------------------------------------------

    @rule(number=workers)
    def the_agent_looks(self, number: int) -> None:
        worker = self.workers[number]
        if self.change(worker, lambda record, now: machine.relax(record, now=now)):
            self.happened["an override lapsed"] += 1
        self.change(worker, lambda record, now: machine.half_opened(record, now=now))

    @rule(number=workers, what=st.sampled_from(["check", "done", "more", "rate"]), well=st.booleans(), u=units)
    def the_agent_acts(self, number: int, what: str, well: bool, u: float) -> None:
        steps: dict[str, Step] = {
            "check": lambda record, now: machine.health_checked(
                record, self.policy, healthy=well, now=now, u=u, reason="check"
            ),
            "done": lambda record, now: machine.drained(record),
            "more": lambda record, now: machine.expect_backlog(record),
            "rate": lambda record, now: machine.ramped(record, 100 * u),
        }
        self.change(self.workers[number], steps[what])

    @rule(number=workers, mode=st.sampled_from(Mode), expires_in=st.floats(0.1, 1000) | st.none())
    def the_operator_overrides(self, number: int, mode: Mode, expires_in: float | None) -> None:
        worker = self.workers[number]
        worker.view = before = self.record
        self.change(
            worker, lambda record, now: machine.override(record, mode, now=now, expires_in=expires_in), operator=True
        )
        assert machine.mode_at(self.record, self.clock(worker)) is mode
        assert (self.record.state, self.record.generation) == (before.state, before.generation)

    @precondition(lambda self: self.record.state is not State.CLOSED or self.record.override)
    @rule(number=workers, fresh=st.booleans())
    def the_operator_closes(self, number: int, fresh: bool) -> None:
        worker = self.workers[number]
        if fresh:
            self.change(worker, lambda record, now: machine.reset(record, now=now), operator=True)
            assert (self.record.state, self.record.mode, self.record.trips) == (State.CLOSED, Mode.AUTO, 0)
        else:
            worker.view = self.record
            self.change(worker, lambda record, now: machine.close(record, now=now), operator=True)
            assert machine.admission(self.record, self.policy, self.clock(worker)) is Admission.ADMIT

    # --- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def views_are_records_that_there_were(self) -> None:
        self.checked += 1
        assert self.record == self.history[-1]
        assert all(worker.view == self.history[worker.view.version] for worker in self.workers)

    @invariant()
    def a_breaker_can_always_say_when_to_come_again(self) -> None:
        for worker in self.workers:
            seconds = machine.retry_after(worker.view, self.clock(worker))
            mode = machine.mode_at(worker.view, self.clock(worker))
            assert (seconds is None) <= (mode is Mode.FORCED_OPEN)
            assert seconds is None or seconds >= 0
            if mode is Mode.AUTO:
                behind = self.latest + 2 * MAX_SKEW - self.now  # a clock that went back must be waited for
                assert seconds is not None and seconds <= self.policy.max_recovery_timeout * (1 + 1e-9) + behind

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
        held = Counter(call.generation for call in self.calls if call.permit and not call.lapsed)
        assert all(number <= self.policy.half_open_calls for number in held.values())


EVERYTHING = {
    *("closed to open", "open to half_open", "half_open to open", "half_open to closed", "half_open to half_open"),
    *("a swap was lost", "a late answer", "a permit was not to be had", "a lease lapsed", "an override lapsed"),
}
FORM = settings(
    deadline=None,
    max_examples=1500 if LONG else 40,
    stateful_step_count=60 if LONG else 40,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.timeout(1800)
def test_a_fleet_keeps_its_promises_in_whatever_order_things_happen() -> None:
    Fleet.steps, Fleet.happened = 0, Counter()
    run_state_machine_as_test(Fleet, settings=FORM)
    print(f"{Fleet.steps} steps: {dict(Fleet.happened)}")  # noqa: T201  (pytest shows it with -s)
    assert Fleet.steps >= (50_000 if LONG else 500)
    assert not LONG or set(Fleet.happened) >= EVERYTHING
