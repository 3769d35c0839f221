"""The simulation does what the engine and the agent do: the same script on both, operation by operation."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Record, State
from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Ticket
from celery_breaker.plugin.agent.agent import Agent
from celery_breaker.plugin.parking.lot import Pace
from celery_breaker.simulation.agent import Agents, Backlog
from celery_breaker.simulation.reporter import Reporter, flush_rounds
from celery_breaker.simulation.scenario import Fleet
from celery_breaker.simulation.store import SimulatedStore
from celery_breaker.simulation.timeline import Timeline
from celery_breaker.simulation.views import Views
from celery_breaker.simulation.worker import Admitted, Worker
from tests.engine.world import World, end, known, succeed

POLICY = Policy(max_failures=3, failure_rate=0, recovery_timeout=30, jitter=0)
NEVER = 1e9
"""Seconds between two reads, where a test has no use for them."""


class Real:
    """Two registries without threads, on one store in memory."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.world = World(policy)
        self.workers: list[Registry] = [self.world.process(f"w{n}", refresh=NEVER) for n in range(2)]
        for worker in self.workers:
            known(worker)
            worker.work()  # has a read of the new name behind it
        self.world.server.calls.clear()

    @property
    def operations(self) -> list[str]:
        """What moves the breaker; entries of its journal are for people, and not simulated."""
        return [kind for kind in self.world.server.calls if kind != "note"]

    @property
    def record(self) -> Record:
        return self.world.stored()

    def wait(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    def fail(self, number: int) -> None:
        self.end(number, self.workers[number].cell("smtp").ticket, failed=True)

    def succeed(self, number: int, times: int) -> None:
        succeed(self.workers[number], times)

    def hear(self) -> None:
        for worker in self.workers:
            worker.hint("smtp")
            worker.work()

    def enter(self, number: int) -> Ticket | None:
        worker = self.workers[number]
        return worker.enter(worker.cell("smtp"))

    def end(self, number: int, ticket: Ticket, *, failed: bool) -> None:
        end(self.workers[number], ticket, Verdict.FAILURE if failed else Verdict.SUCCESS)


class Simulated:
    """Two simulated workers, and no tasks."""

    def __init__(self, policy: Policy = POLICY) -> None:
        fleet = Fleet(workers=2, refresh_interval=1.0, bus_delay=0.001, store_latency=0.001)
        self.timeline = Timeline()
        self.operations: list[str] = []
        record = Record(name="smtp")
        self.store = SimulatedStore(self.timeline, record, policy.window, self._count)
        self.workers = [Worker(n, phase=0.5 + n / 4, slots=1, record=record, flushed=-9) for n in range(2)]
        self.views = Views(self.timeline, self.store, self.workers, fleet)
        self.reporter = Reporter(self.timeline, self.store, self.views, policy, fleet, Random(0))

    def _count(self, kind: str, count: int) -> None:
        self.operations += [kind] * count

    @property
    def record(self) -> Record:
        return self.store.record

    def wait(self, seconds: float) -> None:
        self.timeline.run(until=self.timeline.now + seconds)

    def fail(self, number: int) -> None:
        self.end(number, self.workers[number].ticket, failed=True)

    def succeed(self, number: int, times: int) -> None:
        worker = self.workers[number]
        for _ in range(times):
            self.reporter.report(worker, worker.ticket, failed=False, slow=False)
        self.wait(1.0)

    def hear(self) -> None:
        self.wait(0.05)  # the announcement is on its way

    def enter(self, number: int) -> Admitted | None:
        answers: list[Admitted | None] = []
        self.reporter.ask(self.workers[number], answers.append)
        self.wait(0.01)
        [answer] = answers
        return answer

    def end(self, number: int, ticket: Admitted, *, failed: bool) -> None:
        self.reporter.report(self.workers[number], ticket, failed=failed, slow=False)
        # Up to just before an announcement is heard.
        self.wait(0.0019)


Script = Callable[[Any], None]


def trips(on: Any) -> None:
    for number in (0, 1, 0):
        on.fail(number)
        on.hear()


def probe_fails(on: Any) -> None:
    trips(on)
    on.wait(31.0)
    ticket = on.enter(0)
    on.hear()
    assert on.enter(1) is None
    on.end(0, ticket, failed=True)
    on.hear()


def probe_succeeds(on: Any) -> None:
    trips(on)
    on.wait(31.0)
    on.end(1, on.enter(1), failed=False)
    on.hear()
    assert on.enter(0) is not None


def both_cross_the_threshold(on: Any) -> None:
    on.fail(0)
    on.fail(0)
    on.fail(0)
    on.fail(1)  # has not heard: counts, and loses the swap
    on.hear()


def a_permit_of_yesterday(on: Any) -> None:
    trips(on)
    on.wait(31.0)
    ticket = on.enter(0)
    on.hear()
    on.end(0, ticket, failed=True)  # w1 has not heard
    assert on.enter(1) is None


def successes(on: Any) -> None:
    on.succeed(0, 20)
    on.succeed(1, 1)


@pytest.mark.parametrize(
    ("script", "state"),
    [
        (trips, State.OPEN),
        (probe_fails, State.OPEN),
        (probe_succeeds, State.CLOSED),
        (both_cross_the_threshold, State.OPEN),
        (a_permit_of_yesterday, State.OPEN),
        (successes, State.CLOSED),
    ],
)
def test_the_store_sees_the_same(script: Script, state: State) -> None:
    real, simulated = Real(), Simulated()
    script(real)
    script(simulated)
    assert real.record.state is simulated.record.state is state
    assert (real.record.generation, real.record.trips) == (simulated.record.generation, simulated.record.trips)
    assert _without_reads(simulated.operations) == _without_reads(real.operations)


def _without_reads(operations: list[str]) -> list[str]:
    """What is left of a script that does not depend on when an announcement is heard."""
    return [kind for kind in operations if kind != "read"]


def test_a_probe_costs_the_same_reads() -> None:
    found = []
    for on in (Real(), Simulated()):
        trips(on)
        on.wait(31.0)
        before = len(on.operations)
        on.enter(0)
        found.append(on.operations[before : before + 4])
    assert found[0] == found[1] == ["read", "swap", "lease", "read"]


@pytest.mark.parametrize("window", [60.0, 20.0, 3.0, "100 calls"])
def test_a_busy_worker_reports_successes_as_rarely(window: float | str) -> None:
    policy, seconds = Policy(failure_window=window), 60
    world = World(policy)
    registry = world.process("w0", refresh=1.0)
    known(registry)
    world.server.calls.clear()
    for _ in range(seconds):
        world.clock.advance(1.0)
        succeed(registry, 3)
    expected = seconds / flush_rounds(policy, 1.0)
    assert abs(world.server.calls.count("tally") - expected) <= 1
    assert world.server.calls.count("read") == seconds


# --- the agent --------------------------------------------------------------------------------------------------------


class Yard:
    """A parking queue, and a queue from which workers take ``taken`` messages per second."""

    pace = Pace()

    def __init__(self, parked: int, *, taken: float, now: Callable[[], float]) -> None:
        self.waiting, self.backlog = parked, 0.0
        self.taken, self.now, self.seen = taken, now, now()
        self.released: list[tuple[float, int]] = []
        self.start = now()

    def size(self, name: str = "") -> int:
        return self.waiting

    def _settle(self) -> None:
        self.backlog = max(0.0, self.backlog - self.taken * (self.now() - self.seen))
        self.seen = self.now()

    def target_depth(self, name: str = "") -> int | None:
        self._settle()
        return int(self.backlog) if self.released else None

    def release(self, name: str, count: int, *, ahead: bool = False, held: object = None) -> int:
        self._settle()
        moved = min(count, self.waiting)
        self.waiting -= moved
        self.backlog += moved
        self.released.append((round(self.now() - self.start, 1), moved))
        return moved

    def close(self) -> None:
        """Nothing to give back."""


def real_drain(parked: int, taken: float) -> tuple[list[tuple[float, int]], list[str]]:
    world = World(POLICY)
    registry = world.process("w0", refresh=NEVER, tended=True)
    world.put(Record(name="smtp", generation=3, since=world.clock(), draining=True))
    known(registry)
    yard = Yard(parked, taken=taken, now=world.clock)
    breakers: Any = SimpleNamespace(
        registry=registry,
        settings=SimpleNamespace(tend_interval=5.0),
        policies=SimpleNamespace(names=list),
        open_lot=lambda: yard,
        app=None,
    )
    agent = Agent(breakers)
    agent._full_at = NEVER  # a look at every breaker is not what is compared
    world.server.calls.clear()
    start = world.clock()
    while world.clock() - start < 60:
        world.clock.advance(agent.tend())
    return yard.released, world.server.calls


def simulated_drain(parked: int, taken: float) -> tuple[list[tuple[float, int]], list[str]]:
    timeline, operations = Timeline(), list[str]()

    def count(kind: str, amount: int) -> None:
        operations.extend([kind] * amount)

    fleet = Fleet(workers=1, store_latency=0.0, bus_delay=None, beat=False)
    record = Record(name="smtp", generation=3, version=1, draining=True)
    store = SimulatedStore(timeline, record, POLICY.window, count)
    worker = Worker(0, phase=0.0, slots=1, record=record, flushed=0)
    views = Views(timeline, store, [worker], fleet)
    yard = Yard(parked, taken=taken, now=lambda: timeline.now)
    backlog = Backlog(
        yard.size, yard.target_depth, lambda amount, ahead: yard.release("", amount, ahead=ahead), lambda: (True, 0.0)
    )
    never = Random()
    never.random = lambda: 0.999  # type: ignore[method-assign]
    agents = Agents(timeline, store, views, [worker], POLICY, fleet, backlog, count, never)
    agents.start()
    timeline.run(until=59.0)
    return yard.released, operations


@pytest.mark.parametrize(("parked", "taken"), [(1000, 1e6), (1000, 40.0), (7, 1.0), (0, 1.0)])
def test_the_backlog_goes_back_in_the_same_steps(parked: int, taken: float) -> None:
    real, simulated = real_drain(parked, taken), simulated_drain(parked, taken)
    assert simulated[0] == real[0]
    assert simulated[1] == real[1]
    assert sum(count for _, count in real[0]) == parked


@pytest.mark.parametrize(("seconds", "found"), [(0.5, True), (3.0, False)])
def test_who_has_just_parked_as_all_others_had_closed_sees_to_it(seconds: float, found: bool) -> None:
    # As `WorkerSide._take_parked`: what was parked before the agent's last round is left to a look at everything.
    timeline, fleet = Timeline(), Fleet(workers=1, beat=False)
    record = Record(name="smtp", state=State.OPEN, generation=1, version=1, until=NEVER, draining=True)
    store = SimulatedStore(timeline, record, POLICY.window, lambda kind, amount: None)
    worker = Worker(0, phase=0.0, slots=1, record=record, flushed=0)
    views = Views(timeline, store, [worker], fleet)
    never = Random()
    never.random = lambda: 0.999  # type: ignore[method-assign]
    backlog = Backlog(lambda: 1, lambda: None, lambda amount, ahead: 0, lambda: (True, 0.0))
    Agents(timeline, store, views, [worker], POLICY, fleet, backlog, lambda kind, amount: None, never)
    worker.parked = 0.0
    timeline.run(until=seconds)
    store.record = Record(name="smtp", generation=2, version=2)
    views.see(worker, store.record)
    timeline.run(until=seconds + 1.0)
    assert store.record.draining is found
