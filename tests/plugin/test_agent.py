"""The agent: parked tasks of a breaker that stays closed come back at their time, all others as it recovers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from celery_breaker.core.record import Record
from celery_breaker.plugin.agent.agent import LEASE, Agent
from celery_breaker.plugin.parking.lot import Held, Pace
from celery_breaker.plugin.parking.note import Note
from tests.engine.world import World, known

PAUSE = 0.5


class Yard:
    """A lot with notes in the place of messages."""

    pace = Pace()

    def __init__(self, notes: list[Note]) -> None:
        self.notes = notes
        self.looks = 0

    def size(self, name: str) -> int:
        return len(self.notes)

    def target_depth(self, name: str) -> int | None:
        return None

    def release(self, name: str, count: int, *, ahead: bool = False, held: Held | None = None) -> int:
        self.looks += 1
        before = len(self.notes)
        self.notes = [note for note in self.notes if held is not None and held(note)]
        return before - len(self.notes)

    def close(self) -> None:
        """Nothing to close."""


class Scene:
    def __init__(self, world: World, notes: list[Note]) -> None:
        self.world, self.yard, self.late = world, Yard(notes), set[str]()
        self.registry = world.process("w0", tended=True)
        breakers: Any = SimpleNamespace(
            registry=self.registry,
            settings=SimpleNamespace(tend_interval=5.0),
            policies=SimpleNamespace(names=list),
            open_lot=lambda: self.yard,
            app=None,
        )
        self.agent = Agent(breakers, parked=self._parked)
        self.agent._full_at = float("inf")
        self.cell = known(self.registry)

    def _parked(self) -> set[str]:
        late, self.late = self.late, set()
        return late

    def tend(self, seconds: float) -> None:
        end = self.world.clock() + seconds
        while self.world.clock() < end:
            self.agent.tend()
            self.world.clock.advance(PAUSE)


def closed(world: World, *, at: float) -> None:
    world.put(Record(name="smtp", generation=3, since=at, draining=True))


def test_a_task_is_released_when_it_is_due_and_not_before() -> None:
    world = World()
    now = world.clock()
    closed(world, at=now - 100)
    scene = Scene(world, [Note(since=now, due=now + 3), Note(since=now, due=now + 10)])
    scene.tend(2.5)
    assert len(scene.yard.notes) == 2
    scene.tend(2)
    assert [note.due for note in scene.yard.notes] == [now + 10]
    scene.tend(8)
    assert scene.yard.notes == []


def test_what_was_parked_before_the_breaker_closed_has_not_to_wait() -> None:
    world = World()
    now = world.clock()
    closed(world, at=now)
    scene = Scene(world, [Note(since=now - 1, due=now + 900), Note(since=now - 1)])
    scene.tend(1)
    assert scene.yard.notes == []


def test_tasks_that_wait_long_are_not_looked_at_each_time() -> None:
    world = World()
    now = world.clock()
    closed(world, at=now - 100)
    scene = Scene(world, [Note(since=now, due=now + 900)])
    scene.tend(20)
    assert scene.yard.looks <= 11
    assert scene.cell.record.draining, "it goes on looking while something is parked"


def test_whoever_cannot_have_the_lease_lets_the_holder_know_of_what_it_has_parked() -> None:
    world = World()
    world.put(Record(name="smtp", generation=3, since=world.clock() - 100))
    scene = Scene(world, [])
    world.server.store.lease(LEASE, "another", limit=1, ttl=60)
    scene.late = {"smtp"}
    scene.agent.tend()
    assert not scene.agent.held
    assert world.server.store.read(["smtp"]).records["smtp"].draining
