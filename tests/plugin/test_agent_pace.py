"""The agent on a broker whose counts are behind, and where every look is paid for."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from celery_breaker.core.record import Record, State
from celery_breaker.plugin.agent.agent import Agent
from celery_breaker.plugin.parking.lot import Pace
from celery_breaker.status import Waiting
from tests.engine.world import World, known

SLOW = Pace(settles=60.0, again=2.0, search=3600.0)


class Lot:
    """Counts what it is asked."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.parked: dict[str, int] = {}
        self.asked: list[str] = []
        self.error: Exception | None = None

    def size(self, name: str) -> int:
        self.asked.append("size")
        return self.parked.get(name, 0)

    def look(self, names: Iterable[str]) -> dict[str, Waiting]:
        self.asked.append("look")
        if self.error:
            raise self.error
        return {name: Waiting(self.parked.get(name, 0)) for name in names}

    def target_depth(self, name: str) -> int | None:
        return None

    def release(self, name: str, count: int, *, ahead: bool = False, held: object = None) -> int:
        self.asked.append("release")
        moved = min(count, self.parked.get(name, 0))
        self.parked[name] = self.parked.get(name, 0) - moved
        return moved

    def close(self) -> None:
        self.asked.append("close")


class Scene:
    def __init__(self, pace: Pace, record: Record) -> None:
        self.world = World()
        self.registry = self.world.process("w0", refresh=1e9, tended=True)
        self.world.put(record)
        known(self.registry)
        self.lot = Lot(pace)
        breakers: Any = SimpleNamespace(
            registry=self.registry,
            settings=SimpleNamespace(tend_interval=5.0),
            policies=SimpleNamespace(names=lambda: ["smtp"]),
            open_lot=lambda: self.lot,
            app=None,
        )
        self.agent = Agent(breakers)

    @property
    def record(self) -> Record:
        return self.registry.cell("smtp").record

    def run(self, seconds: float) -> list[str]:
        """What the lot was asked in this time."""
        self.lot.asked.clear()
        end = self.world.clock() + seconds
        while self.world.clock() < end:
            self.world.clock.advance(max(self.agent.tend(), 0.01))
        return self.lot.asked


def closed(**more: Any) -> Record:
    return Record(name="smtp", generation=3, **more)


def test_with_all_breakers_closed_it_looks_as_rarely_as_the_lot_says() -> None:
    assert Scene(SLOW, closed()).run(7000.0) == ["look", "look"]
    assert len(Scene(Pace(), closed()).run(7000.0)) > 100


def test_what_a_search_finds_is_released(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(SLOW, closed())
    scene.run(10.0)
    scene.lot.parked["smtp"] = 3
    assert "release" in scene.run(3600.0)
    assert scene.lot.parked == {"smtp": 0}
    assert not caplog.records


def test_a_search_that_fails_is_said_once_and_keeps_no_other_breaker_waiting(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(SLOW, closed())
    scene.world.put(Record(name="crm", state=State.OPEN, until=scene.world.clock() + 1, generation=1))
    known(scene.registry, "crm")
    scene.lot.error = ConnectionResetError("gone")
    with caplog.at_level(logging.WARNING):
        scene.run(200.0)
    assert caplog.text.count("parked tasks cannot be counted") == 1
    assert scene.registry.cell("crm").record.state is State.HALF_OPEN


def test_a_queue_that_looks_empty_is_watched_until_its_count_is_sure() -> None:
    scene = Scene(SLOW, closed(draining=True))
    scene.agent._full_at = 1e9
    scene.lot.parked["smtp"] = 1
    assert scene.run(1.0).count("release") == 1
    assert scene.run(55.0).count("size") <= 28, "every two seconds"
    assert scene.record.draining
    scene.lot.parked["smtp"] = 1  # it was there all along
    scene.run(40.0)
    assert scene.lot.parked["smtp"] == 0
    assert scene.record.draining, "a minute has not passed since"
    scene.run(30.0)
    assert not scene.record.draining


def test_while_half_open_an_empty_queue_is_asked_no_more_often_than_the_lot_says() -> None:
    scene = Scene(SLOW, Record(name="smtp", state=State.HALF_OPEN, generation=3))
    scene.agent._full_at = 1e9
    assert scene.run(20.0).count("release") <= 11


def test_nothing_is_remembered_of_a_breaker_that_is_gone() -> None:
    """There may be many, each named after an argument."""
    scene = Scene(Pace(), closed())
    scene.world.put(Record(name="hook:1", state=State.HALF_OPEN, generation=2))
    known(scene.registry, "hook:1")
    scene.agent.tend()
    assert scene.agent._probes._probing.keys() == {"hook:1"}
    scene.registry.forget("hook:1")
    scene.agent.tend(full=True)
    assert not scene.agent._probes._probing
