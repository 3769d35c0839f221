"""The registry: how outcomes reach the store, what is told of it, and what a process keeps in mind."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from celery_breaker.clock import ManualClock
from celery_breaker.core import machine
from celery_breaker.core.events import Change
from celery_breaker.core.machine import Admission
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, State
from celery_breaker.core.verdict import Verdict
from celery_breaker.core.windows import Delta
from celery_breaker.engine.registry import Outcome, Registry
from celery_breaker.errors import ConfigurationError
from celery_breaker.status import status_of
from celery_breaker.stores.memory import MemoryStore
from tests.engine.situations import opened, state
from tests.engine.world import POLICY, SilentReporter, World, end, fail, known, succeed

# --- from outcome to state --------------------------------------------------------------------------------------------


def test_outcomes_move_the_state_only_when_they_are_worked_off(world: World, registry: Registry) -> None:
    cell = registry.cell("smtp")
    for _ in range(3):
        registry.report(Outcome(cell.ticket, Verdict.FAILURE))
    assert (state(world), cell.passing) == (State.CLOSED, True)
    registry.work()
    assert (state(world), cell.passing) == (State.OPEN, False)


def test_a_failure_wakes_the_reporter_and_a_success_does_not(registry: Registry) -> None:
    cell = registry.cell("smtp")
    assert isinstance(registry.reporter, SilentReporter)
    registry.succeeded(cell.ticket)
    registry.report(Outcome(cell.ticket, Verdict.SUCCESS))
    assert registry.reporter.wakes == 0
    registry.report(Outcome(cell.ticket, Verdict.FAILURE))
    assert registry.reporter.wakes == 1


def test_many_outcomes_are_one_report_and_one_note_of_the_failures(world: World, registry: Registry) -> None:
    cell = registry.cell("smtp")
    registry.work()
    world.server.calls.clear()
    for _ in range(1000):
        registry.succeeded(cell.ticket)
    fail(registry, 2)
    assert world.server.calls == ["tally", "note"]


def test_successes_alone_are_sent_now_and_then(world: World, registry: Registry) -> None:
    succeed(registry)
    world.server.calls.clear()
    for _ in range(40):
        world.clock.advance(0.25)
        succeed(registry, 10)
    assert 1 <= world.server.calls.count("tally") <= 3
    fail(registry, 1)
    assert registry.totals(registry.cell("smtp")).calls == 402


def test_a_neutral_outcome_counts_for_nothing(registry: Registry) -> None:
    cell = known(registry)
    end(registry, cell.ticket, Verdict.NEUTRAL)
    assert registry.totals(cell).calls == 0


def test_failures_of_several_workers_add_up(world: World) -> None:
    workers = [world.process(f"w{n}") for n in range(3)]
    for worker in workers:
        fail(worker)
    assert state(world) is State.OPEN
    assert registry_totals(workers[0], generation=0) == {"w0": 1, "w1": 1, "w2": 1}


def registry_totals(registry: Registry, *, generation: int) -> dict[str, int]:
    return registry._tally(registry.cell("smtp"), generation, Delta()).workers


def test_one_sick_worker_does_not_trip_a_fleet_that_asks_for_two(world: World) -> None:
    world.policy = replace(POLICY, min_workers=2)
    one, other = world.process("w1"), world.process("w2")
    fail(one, 50)
    assert state(world) is State.CLOSED
    fail(other)
    assert state(world) is State.OPEN


def test_a_breaker_of_a_worker_s_own_is_not_shared(world: World) -> None:
    world.policy = replace(POLICY, scope="worker")
    one, other = world.process("w1"), world.process("w2")
    fail(one, 3)
    world.clock.advance(2)
    other.work()
    assert one.cell("smtp").record.state is State.OPEN
    assert other.cell("smtp").record.state is State.CLOSED
    assert world.server.store.names() == []
    world.clock.advance(30)
    end(one, one.enter(one.cell("smtp")), Verdict.SUCCESS)
    assert one.cell("smtp").record.state is State.CLOSED


def test_failures_older_than_the_window_do_not_count(world: World, registry: Registry) -> None:
    fail(registry, 2)
    world.clock.advance(61)
    fail(registry, 2)
    assert state(world) is State.CLOSED
    fail(registry, 1)
    assert state(world) is State.OPEN


def test_a_count_window_forgets_by_calls_not_by_time(world: World) -> None:
    world.policy = replace(POLICY, failure_window="5 calls")
    registry = world.process()
    fail(registry, 2)
    world.clock.advance(500)
    registry.work()
    fail(registry, 1)
    assert state(world) is State.OPEN


def test_a_count_window_slides(world: World) -> None:
    world.policy = replace(POLICY, failure_window="5 calls")
    registry = world.process()
    fail(registry, 2)
    for _ in range(5):
        succeed(registry)
        world.clock.advance(2)
    registry.work()
    fail(registry, 2)
    assert state(world) is State.CLOSED


@pytest.mark.parametrize(
    ("outcomes", "trips"),
    [("---", True), ("--+--", False), ("--+---", True), ("+++++---", True), ("-+-+-+-+-+", False)],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_streak_is_exact_among_the_calls_of_a_worker(outcomes: str, trips: bool, at_once: bool) -> None:
    world = World(Policy(max_failures=100, consecutive_failures=3, failure_window="100 calls"))
    registry = world.process()
    cell = registry.cell("smtp")
    for outcome in outcomes:
        if outcome == "+":
            registry.succeeded(cell.ticket)
        else:
            registry.report(Outcome(cell.ticket, Verdict.FAILURE))
        if not at_once:
            registry.work()
    registry.work()
    assert (state(world) is State.OPEN) is trips


def test_a_streak_goes_on_from_worker_to_worker(world: World) -> None:
    world.policy = Policy(max_failures=100, consecutive_failures=3)
    one, other = world.process("w1"), world.process("w2")
    fail(one, 2)
    fail(other, 1)
    assert state(world) is State.OPEN


def test_calls_between_the_reports_of_two_generations_are_told_apart(world: World, registry: Registry) -> None:
    """Two failures before the breaker is closed by hand and two after are not four."""
    cell = known(registry)
    fail(registry, 2)
    before = cell.ticket
    registry.change(cell, lambda record, now: machine.reset(record, now=now))
    for ticket in (before, before, cell.ticket, cell.ticket):
        registry.report(Outcome(ticket, Verdict.FAILURE))
    registry.work()
    assert state(world) is State.CLOSED


def test_a_slow_call_is_reported_at_once(world: World) -> None:
    world.policy = Policy(max_failures=2, slow_call_duration=1, slow_call_rate=0.5)
    registry = world.process()
    cell = registry.cell("smtp")
    for _ in range(2):
        registry.report(Outcome(cell.ticket, Verdict.SUCCESS, slow=True))
    registry.work()
    assert state(world) is State.OPEN


def test_what_the_service_asked_for_is_used_once(world: World, registry: Registry) -> None:
    cell = registry.cell("smtp")
    for asked in (None, 100.0, None):
        registry.report(Outcome(cell.ticket, Verdict.FAILURE, asked=asked))
    registry.work()
    assert world.stored().until == world.clock() + 100
    registry.change(cell, lambda record, now: machine.reset(record, now=now))
    fail(registry, 3)
    assert world.stored().until == world.clock() + 30


# --- what is told -----------------------------------------------------------------------------------------------------


def test_only_the_winner_tells_of_a_change(world: World) -> None:
    one, other = world.process("w1"), world.process("w2")
    heard: dict[str, list[Change]] = {"one": [], "other": []}
    one.listeners.append(heard["one"].append)
    other.listeners.append(heard["other"].append)
    fail(one, 3)
    known(other)
    assert [change.after for change in heard["one"]] == [State.OPEN]
    assert heard["other"] == []


def test_a_listener_that_raises_harms_nobody(
    world: World, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("broken hook")

    registry.listeners.insert(0, broken)
    registry.watchers.append(broken)
    fail(registry, 3)
    assert state(world) is State.OPEN
    assert len(world.changes) == 1
    assert "broken hook" in caplog.text


def test_a_watcher_sees_each_view_change_with_what_was_before(world: World) -> None:
    one, other = world.process("w1"), world.process("w2")
    seen: list[tuple[State, State]] = []
    known(other)
    other.watchers.append(lambda cell, before: seen.append((before.state, cell.record.state)))
    fail(one, 3)
    for _ in range(3):
        world.clock.advance(1)
        other.work()
    assert seen == [(State.CLOSED, State.OPEN)]


def test_a_trip_is_a_warning_and_a_third_in_a_row_an_error(
    world: World, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    opened(world, registry)
    for factor in (2, 4, 8):
        end(registry, registry.enter(registry.cell("smtp")), reason="down")
        world.clock.advance(30 * factor)
    levels = [record.levelname for record in caplog.records if "opened for" in record.getMessage()]
    assert levels == ["WARNING", "WARNING", "ERROR", "ERROR"]
    assert "breaker 'smtp' opened for 30.0 s: 3 of 3 calls failed" in caplog.text
    assert caplog.records[0].__dict__["breaker"] == "smtp"


def test_who_loses_the_race_to_trip_says_what_it_learned(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Else its log would not tell why it calls the service no more."""
    caplog.set_level(logging.INFO)
    one, other = world.process("w1"), world.process("w2")
    for process in (one, other):
        cell = known(process)
        for _ in range(3):
            process.report(Outcome(cell.ticket, Verdict.FAILURE))

    def overtake(operation: str) -> None:
        if operation == "swap":
            world.server.before = lambda operation: None
            one.work()

    world.server.before = overtake
    other.work()
    assert caplog.messages == [
        "breaker 'smtp' opened for 30.0 s: 6 of 6 calls failed",
        "breaker 'smtp' is open, says the store",
    ]


def test_an_override_is_a_warning_with_who_and_why(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    registry.change(
        known(registry),
        lambda record, now: machine.override(record, Mode.FORCED_OPEN, now=now, reason="maintenance", by="eve"),
    )
    assert caplog.messages == ["breaker 'smtp' is now forced_open by eve: maintenance"]


# --- what a process keeps in mind -------------------------------------------------------------------------------------


def test_a_view_costs_no_round_trip(world: World, registry: Registry) -> None:
    world.server.calls.clear()
    cell = registry.cell("smtp")
    assert cell.passing and registry.admission(cell) is Admission.ADMIT
    assert world.server.calls == []


def test_all_followed_breakers_are_read_at_once(world: World, registry: Registry) -> None:
    for number in range(500):
        registry.cell(f"webhook:{number}")
    world.server.calls.clear()
    world.clock.advance(1)
    registry.work()
    assert world.server.calls == ["read"]


def test_idle_breakers_are_no_longer_followed(world: World, registry: Registry) -> None:
    registry.cell("idle")
    registry.cell("pinned", pinned=True)
    registry.cell("busy")
    registry.change(known(registry, "open"), lambda record, now: machine.override(record, Mode.OBSERVING, now=now))
    for _ in range(13):
        world.clock.advance(50)
        succeed(registry, name="busy")
    assert set(registry.cells) == {"pinned", "busy", "open"}


def test_a_process_without_a_reporter_does_not_keep_every_breaker_that_it_ever_showed(world: World) -> None:
    """The dashboard shows them all, and makes no calls; dynamic ones come and go."""
    dashboard = world.process()
    for number in range(100):
        status_of(dashboard, [f"webhook:{number}"])
    for _ in range(3):
        world.clock.advance(400)
        status_of(dashboard, ["smtp", "sms"])
    status_of(dashboard, ["new"])
    assert set(dashboard.cells) == {"smtp", "sms", "new"}
    assert dashboard._hints <= set(dashboard.cells)


def test_a_breaker_of_a_worker_s_own_that_is_forgotten_begins_anew(world: World) -> None:
    world.policy = replace(world.policy, scope="worker")
    registry = world.process()
    fail(registry, 3)
    registry.forget("smtp")
    after = registry.change(registry.cell("smtp"), lambda record, now: machine.expect_backlog(record))
    assert (after.state, after.generation, after.version) == (State.CLOSED, 0, 1)


def test_a_breaker_that_is_no_longer_followed_is_made_again_at_its_next_use(world: World, registry: Registry) -> None:
    old = registry.cell("smtp")
    world.clock.advance(601)
    registry.work()
    assert not old.passing, "who still holds the old view has to look again"
    assert registry.cell("smtp") is not old


def test_a_call_that_outlives_its_view_is_still_counted(world: World, registry: Registry) -> None:
    tickets = [registry.cell("smtp").ticket] * 3
    world.clock.advance(601)
    registry.work()
    assert "smtp" not in registry.cells
    for ticket in tickets:
        registry.report(Outcome(ticket, Verdict.FAILURE))
    registry.work()
    assert state(world) is State.OPEN


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb"])
def test_a_name_that_cannot_be_a_breaker_s_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(ConfigurationError):
        registry.cell(name)


def test_the_policy_of_a_name_is_asked_for_once(world: World) -> None:
    asked: list[str] = []

    def policy_of(name: str) -> Policy:
        asked.append(name)
        return Policy()

    registry = world.process(policy_of=policy_of)
    for _ in range(3):
        registry.cell("smtp")
    assert asked == ["smtp"]


def test_a_declared_policy_comes_first(registry: Registry) -> None:
    registry.declare("smtp", Policy(max_failures=9))
    assert registry.cell("smtp").policy.max_failures == 9


def test_closing_drops_the_views(registry: Registry) -> None:
    cell = registry.cell("smtp")
    registry.close()
    assert registry.cells == {} and not cell.passing


def test_work_says_when_it_wants_to_run_again(world: World) -> None:
    registry = world.process(refresh=4.0)
    assert registry.work() == 4.0
    world.clock.advance(3)
    assert registry.work() == 1.0


def test_an_agentless_process_probes_with_calls_whatever_the_policy_says(world: World) -> None:
    world.policy = replace(POLICY, health_check=bool)
    registry = world.process()
    opened(world, registry)
    assert registry.enter(registry.cell("smtp")) is not None


def test_where_an_agent_checks_health_no_call_probes(world: World) -> None:
    world.policy = replace(POLICY, health_check=bool)
    registry = world.process(tended=True)
    opened(world, registry)
    assert registry.enter(registry.cell("smtp")) is None


# --- odds and ends ----------------------------------------------------------------------------------------------------


def test_a_forced_mode_with_an_end_is_looked_at_with_each_call(world: World, registry: Registry) -> None:
    cell = known(registry)
    registry.change(cell, lambda record, now: machine.override(record, Mode.FORCED_OPEN, now=now, expires_in=10))
    assert registry.admission(cell) is Admission.REFUSE
    world.clock.advance(10)
    assert registry.admission(cell) is Admission.ADMIT


def test_a_clock_that_is_off_makes_no_difference(world: World) -> None:
    one, other = world.process("w1", skew=0.0), world.process("w2", skew=12_345_678.9)
    fail(one, 3)
    cell = known(other)
    assert other.retry_after(cell) == pytest.approx(30.0)
    world.clock.advance(29.9)
    assert other.admission(cell) is Admission.REFUSE
    world.clock.advance(0.2)
    assert other.admission(cell) is Admission.PERMIT


def test_a_registry_over_a_store_in_memory_knows_its_time_at_once() -> None:
    clock = ManualClock(5000.0)
    registry = Registry(MemoryStore(clock), clock=ManualClock(7.0))
    assert registry.link.now() == 5000.0
