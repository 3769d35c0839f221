"""Three processes and one store through calls, outages, operators and time, in any order.

Whatever happened: at no time are there more probes than permits, a process that has just read sees what the store
has, no call is made that the store's state forbids, and once all is well again the fleet agrees and closes.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from celery_breaker.core import machine
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Record, State
from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.registry import Outcome, Registry
from celery_breaker.engine.view import Ticket
from tests.engine.world import World, known

PROCESSES = 3
processes = st.integers(0, PROCESSES - 1)
verdicts = st.sampled_from([Verdict.FAILURE] * 3 + [Verdict.SUCCESS, Verdict.SUCCESS, Verdict.NEUTRAL])


class Fleet(RuleBasedStateMachine):
    @initialize(
        permits=st.integers(1, 2),
        threshold=st.integers(1, 3),
        streak=st.none() | st.integers(1, 4),
        window=st.sampled_from([60.0, "5 calls", "30 calls"]),
    )
    def start(self, permits: int, threshold: int, streak: int | None, window: float | str) -> None:
        policy = Policy(
            max_failures=3,
            failure_rate=0.4,
            failure_window=window,
            consecutive_failures=streak,
            recovery_timeout=10,
            max_recovery_timeout=40,
            half_open_calls=permits,
            success_threshold=threshold,
            probe_timeout=15,
        )
        self.world = World(policy)
        self.fleet = [self.world.process(f"w{n}", skew=1000.0 * n) for n in range(PROCESSES)]
        for registry in self.fleet:
            known(registry)
        self.calls: list[tuple[Registry, Ticket, float]] = []
        self.last = Record(name="smtp")

    # --- what happens -------------------------------------------------------------------------------------------------

    @rule(seconds=st.floats(0.01, 20))
    def time_passes(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @rule(number=processes)
    def a_round(self, number: int) -> None:
        self.fleet[number].work()

    @rule(number=processes)
    def a_call_begins(self, number: int) -> None:
        registry = self.fleet[number]
        cell = registry.cell("smtp")
        ticket = cell.ticket if cell.passing else registry.enter(cell)
        if ticket is not None:
            self.calls.append((registry, ticket, self.world.clock()))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), verdict=verdicts)
    def a_call_ends(self, data: st.DataObject, verdict: Verdict) -> None:
        registry, ticket, _ = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        if verdict is Verdict.SUCCESS:
            registry.succeeded(ticket)
        else:
            registry.report(Outcome(ticket, verdict))

    @rule(number=processes, times=st.integers(1, 5))
    def an_outage_of_the_service(self, number: int, times: int) -> None:
        registry = self.fleet[number]
        cell = registry.cell("smtp")
        for _ in range(times):
            if cell.passing:
                registry.report(Outcome(cell.ticket, Verdict.FAILURE))
        registry.work()

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def a_process_loses_a_call(self, data: st.DataObject) -> None:
        del self.calls[data.draw(st.integers(0, len(self.calls) - 1))]

    @rule(number=processes, mode=st.sampled_from(Mode), expires_in=st.none() | st.floats(1, 30))
    def an_operator_overrides(self, number: int, mode: Mode, expires_in: float | None) -> None:
        registry = self.fleet[number]
        registry.change(
            known(registry), lambda record, now: machine.override(record, mode, now=now, expires_in=expires_in)
        )

    @rule(number=processes, fresh=st.booleans())
    def an_operator_closes(self, number: int, fresh: bool) -> None:
        registry = self.fleet[number]
        step = machine.reset if fresh else machine.close
        registry.change(known(registry), lambda record, now: step(record, now=now))

    @rule()
    def the_store_goes_or_comes(self) -> None:
        self.world.server.down = not self.world.server.down

    # --- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def the_store_s_generation_never_decreases(self) -> None:
        record = self.world.stored()
        assert record.generation >= self.last.generation
        assert record.version >= self.last.version
        assert (record.version == self.last.version) <= (record == self.last)
        self.last = record

    @invariant()
    def nobody_raises_and_each_change_is_told_once(self) -> None:
        told = [(change.generation, change.version) for change in self.world.changes]
        if all(registry.link.epoch == 0 for registry in self.fleet):
            assert len(told) == len(set(told))

    @invariant()
    def there_are_no_more_probes_than_permits(self) -> None:
        if any(registry.link.epoch for registry in self.fleet):
            return  # each that was cut off had permits of its own
        now = self.world.clock()
        held: dict[int, int] = {}
        for _, ticket, began in self.calls:
            if ticket.permit is not None and now < began + 15:
                held[ticket.generation] = held.get(ticket.generation, 0) + 1
        assert all(number <= self.world.policy.half_open_calls for number in held.values())

    @invariant()
    def who_has_just_read_sees_what_the_store_has(self) -> None:
        for registry in self.fleet:
            if not registry.link.connected or self.world.server.down:
                continue
            cell = known(registry)
            if registry.link.connected:
                assert cell.record == self.world.stored()
                mode = machine.mode_at(cell.record, self.world.clock())
                if mode is Mode.FORCED_OPEN or (mode is Mode.AUTO and cell.record.state is not State.CLOSED):
                    assert not cell.passing

    def teardown(self) -> None:
        """When all is well again, the fleet finds together, and closes."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.server.down = False
        for _ in range(6):
            world.clock.advance(1)
            for registry in self.fleet:
                registry.work()
        assert all(registry.link.connected for registry in self.fleet)
        first = self.fleet[0]
        first.change(known(first), lambda record, now: machine.override(record, Mode.AUTO, now=now))
        for _ in range(20):
            world.clock.advance(41)
            for registry in self.fleet:
                registry.work()
                cell = known(registry)
                ticket = cell.ticket if cell.passing else registry.enter(cell)
                if ticket is not None:
                    registry.succeeded(ticket)
                    registry.work()
        records = [known(registry).record for registry in self.fleet]
        assert all(record == world.stored() for record in records)
        assert all(cell.passing for registry in self.fleet for cell in registry.cells.values())
        for registry in self.fleet:
            for _ in range(5):
                registry.report(Outcome(registry.cell("smtp").ticket, Verdict.FAILURE))
            registry.work()
        assert world.stored().state is State.OPEN, "it still protects"


TestFleet = Fleet.TestCase
