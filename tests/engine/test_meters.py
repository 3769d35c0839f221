"""The port for meters: what they are told, from where, and that they can neither slow nor break a breaker."""

from __future__ import annotations

import logging
from collections import Counter

import pytest

from celery_breaker.core.events import Change
from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.meters import Meter
from celery_breaker.engine.registry import Registry
from celery_breaker.errors import BreakerOpen
from tests.engine.world import World, breaker_in, end, fail, known


class Told(Meter):
    """Keeps all that it is told, as text."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def called(self, name: str, *, calls: int, failures: int, slow: int) -> None:
        self.lines.append(f"called {name} {calls} {failures} {slow}")

    def refused(self, name: str, retry_after: float | None) -> None:
        self.lines.append(f"refused {name} {retry_after}")

    def permitted(self, name: str) -> None:
        self.lines.append(f"permitted {name}")

    def changed(self, change: Change) -> None:
        self.lines.append(f"changed {change.name} {change.after}")

    def store_used(self, operation: str, seconds: float, *, failed: bool) -> None:
        self.lines.append(f"{operation} {seconds:.3f} {failed}")

    def of(self, what: str) -> list[str]:
        return [line for line in self.lines if line.startswith(what)]


@pytest.fixture
def told(registry: Registry) -> Told:
    meter = Told()
    registry.meters.add(meter)
    return meter


def test_a_thousand_successes_tell_nothing_until_the_reporter_does(registry: Registry, told: Told) -> None:
    breaker = breaker_in(registry)
    registry.work()
    told.lines.clear()
    for _ in range(1000):
        breaker.call(int)
    assert told.lines == []
    registry.work()
    assert told.of("called") == ["called smtp 1000 0 0"]


def test_a_with_block_tells_nothing_either(registry: Registry, told: Told) -> None:
    breaker = breaker_in(registry)
    registry.work()
    told.lines.clear()
    for _ in range(3):
        with breaker:
            pass
    assert told.lines == []


def test_outcomes_of_a_round_are_told_together(registry: Registry, told: Told) -> None:
    cell = known(registry)
    fail(registry, 2)
    end(registry, cell.ticket, Verdict.SUCCESS, slow=True)
    end(registry, cell.ticket, Verdict.NEUTRAL)
    assert told.of("called") == ["called smtp 2 2 0", "called smtp 1 0 1"]


def test_outcomes_that_come_too_late_for_the_window_are_calls_all_the_same(registry: Registry, told: Told) -> None:
    late = known(registry).ticket
    fail(registry, 3)
    told.lines.clear()
    end(registry, late, Verdict.FAILURE)
    assert told.of("called") == ["called smtp 1 1 0"]


def test_trips_refusals_permits_and_recoveries_are_told(world: World, registry: Registry, told: Told) -> None:
    breaker = breaker_in(registry)
    fail(registry, 3)
    with pytest.raises(BreakerOpen), breaker:
        pass
    with pytest.raises(BreakerOpen):
        breaker.call(int)
    world.clock.advance(30)
    breaker.call(int)
    registry.work()
    assert told.of("refused") == ["refused smtp 30.0"] * 2
    assert told.of("permitted") == ["permitted smtp"]
    assert told.of("changed") == ["changed smtp open", "changed smtp half_open", "changed smtp closed"]


def test_a_change_is_told_by_its_winner_alone(world: World, registry: Registry, told: Told) -> None:
    other = world.process("w2")
    known(registry)
    fail(other, 3)
    registry.refresh()
    assert told.of("changed") == []


def test_operations_on_the_store_are_timed_whether_they_fail_or_not(
    world: World, registry: Registry, told: Told
) -> None:
    cell = known(registry)
    told.lines.clear()
    world.server.before = lambda operation: world.clock.advance({"tally": 0.004, "read": 0.02}[operation])
    registry.totals(cell)
    registry.refresh(["smtp"])
    world.server.hang = 1.0
    registry.refresh(["smtp"])
    assert told.lines == ["tally 0.004 False", "read 0.020 False", "read 1.020 True"]


def test_what_stands_in_for_the_store_is_not_the_store(world: World, registry: Registry, told: Told) -> None:
    world.server.down = True
    registry.refresh()
    told.lines.clear()
    fail(registry, 2)
    assert Counter(line.split()[0] for line in told.lines) == {"called": 1}
    world.clock.advance(1)
    registry.work()
    assert told.lines[-1].startswith("now"), "the attempt to rejoin is"


def test_a_meter_that_fails_is_logged_once_and_harms_nobody(
    registry: Registry, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Told):
        def called(self, name: str, *, calls: int, failures: int, slow: int) -> None:
            raise RuntimeError("as the test says")

    registry.meters.add(Broken())
    after = Told()
    registry.meters.add(after)
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            fail(registry)
    assert after.of("called") == told.of("called") == ["called smtp 1 1 0"] * 2
    assert len([record for record in caplog.records if "goes on without its figures" in record.getMessage()]) == 1


def test_a_meter_that_is_removed_hears_no_more(registry: Registry, told: Told) -> None:
    registry.meters.remove(told)
    told.lines.clear()
    fail(registry, 3)
    assert told.lines == []
    assert not registry.meters


def test_a_forked_child_keeps_those_that_survive_and_no_other(registry: Registry, told: Told) -> None:
    class Lockless(Told):
        survives_fork = True

    kept = Lockless()
    registry.meters.add(kept)
    registry.after_fork()
    registry.meters.refused("smtp", 1.0)
    assert kept.lines == ["refused smtp 1.0"]
    assert told.of("refused") == []


def test_the_port_does_nothing_by_itself(registry: Registry) -> None:
    registry.meters.add(Meter())
    fail(registry, 3)
    registry.meters.deferred("smtp", "park")
    registry.meters.released("smtp", 1)
    registry.meters.tended()
    registry.meters.bus_delayed(0.1)
    assert not registry.cell("smtp").passing
