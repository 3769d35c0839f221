"""The deferrer: what is in hand stays in hand until it is safe, and is let go when the broker gives it out again."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from kombu import Message

from celery_breaker.core import machine
from celery_breaker.engine.meters import Meter
from celery_breaker.engine.registry import Registry
from celery_breaker.plugin.gate.deferral import Deferrer, Refused, close_stale_database_connections
from celery_breaker.plugin.mainloop import MainLoop
from celery_breaker.plugin.parking.lot import Move
from celery_breaker.plugin.parking.note import Note
from celery_breaker.stores.memory import MemoryStore
from tests.support.waiting import eventually


class FakeLot:
    """Notes what it moves, and in which threads it tried; fails as often as it is told to."""

    def __init__(self) -> None:
        self.failures = self.closed = 0
        self.moved: list[Move] = []
        self.tried_by: list[threading.Thread] = []

    def place(self, name: str, origin: str) -> str:
        return f"celery_breaker.parked.{name}"

    def move(self, moves: Sequence[Move]) -> None:
        self.tried_by.append(threading.current_thread())
        if self.failures:
            self.failures -= 1
            raise ConnectionResetError("the broker is away")
        for move in moves:
            if move.current():
                self.moved.append(move)
                move.ack()

    def close(self) -> None:
        self.closed += 1


class HangingLot(FakeLot):
    """The broker takes what is sent to it and says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.over = threading.Event(), threading.Event()

    def move(self, moves: Sequence[Move]) -> None:
        self.asked.set()
        self.over.wait(60)


class World:
    def __init__(self, app: Celery, lot: FakeLot | None = None) -> None:
        self.lot, self.loop = lot or FakeLot(), MainLoop()
        self.registry = Registry(MemoryStore())
        self.deferrer = Deferrer(app, self.registry, self.lot, loop=self.loop)  # type: ignore[arg-type]
        self.acked: list[str] = []
        self.task = SimpleNamespace(name="tests.add", ignore_result=True, backend=None)

    def refuse(self, task_id: str, **options: Any) -> None:
        self.deferrer._waiting.append(self.refused(task_id, **options))

    def refused(
        self, task_id: str, *, action: str = "park", headers: Mapping[str, Any] | None = None, **options: Any
    ) -> Refused:
        message = Message(body="[[], {}, {}]", headers={"id": task_id, "task": "tests.add", **(headers or {})})
        return Refused(
            task=self.task,  # type: ignore[arg-type]
            message=message,
            origin="celery",
            action=action,
            cell=self.registry.cell("svc"),
            connection=self.loop.connections,
            ack=lambda: self.acked.append(task_id),
            gone=lambda: None,
            **options,
        )

    def work(self) -> float:
        return self.deferrer._work()


@pytest.fixture
def world(make_app: Callable[[Mapping[str, Any]], Celery]) -> World:
    return World(make_app({"broker_url": "memory://"}))


def test_a_parked_message_is_acknowledged_after_it_was_moved(world: World) -> None:
    world.refuse("1")
    world.work()
    assert [move.queue for move in world.lot.moved] == ["celery_breaker.parked.svc"]
    assert world.acked == ["1"]


def test_while_the_broker_is_away_nothing_is_acknowledged_and_all_is_tried_again(world: World) -> None:
    world.lot.failures = 2
    world.refuse("1")
    world.refuse("2")
    assert world.work() == 1.0
    assert world.work() == 1.0
    assert world.acked == []
    world.work()
    assert world.acked == ["1", "2"]


def test_a_message_of_a_lost_connection_is_neither_moved_nor_acknowledged(world: World) -> None:
    """The broker gives it out again: a copy in the parking queue would run twice."""
    world.lot.failures = 1
    world.refuse("1")
    world.work()
    world.loop.lost()
    world.refuse("2")
    world.work()
    assert world.acked == ["2"]
    assert len(world.lot.moved) == 1


def test_a_message_that_was_acknowledged_is_in_hand_though_its_connection_is_lost(world: World) -> None:
    world.refuse("1", acknowledged=True)
    world.loop.lost()
    world.work()
    assert [move.acknowledged for move in world.lot.moved] == [True]


def test_what_is_left_of_the_last_tasks_is_set_aside_when_the_worker_ends(world: World) -> None:
    world.deferrer.close()
    world.refuse("1", acknowledged=True)
    world.deferrer.close()
    assert len(world.lot.moved) == 1


def test_what_fails_while_the_worker_stops_is_parked_at_once_and_not_at_the_end(world: World) -> None:
    """The pool may have to be waited for as long as its longest task, and a worker be killed before."""
    world.deferrer.close()
    world.deferrer.submit(world.refused("1", acknowledged=True))
    assert len(world.lot.moved) == 1


def test_a_broker_that_hangs_keeps_no_worker_from_ending(
    make_app: Callable[[Mapping[str, Any]], Celery], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(make_app({"broker_url": "memory://"}), lot := HangingLot())
    background = world.deferrer._background
    monkeypatch.setattr(background, "stop", partial(background.stop, timeout=0.01))
    world.deferrer.submit(world.refused("1"))
    assert lot.asked.wait(10)
    world.deferrer.submit(world.refused("2"))
    ending = threading.Thread(target=world.deferrer.close, daemon=True)
    ending.start()
    ending.join(5)
    assert not ending.is_alive()
    assert lot.closed == 0, "its connection is in use"
    lot.over.set()
    eventually(lambda: not background.running, "the thread should end")


def test_without_an_event_loop_only_the_first_task_s_thread_waits_for_a_broker_that_is_away(world: World) -> None:
    here = threading.current_thread()
    world.deferrer.inline = True
    world.lot.failures = 1_000_000
    for task_id in "123":
        world.deferrer.submit(world.refused(task_id))
    assert world.lot.tried_by.count(here) == 1
    world.lot.failures = 0
    eventually(lambda: len(world.lot.moved) == 3, "a thread of its own should park them")
    world.deferrer.close()


def test_failed_tasks_that_cannot_be_parked_as_the_worker_ends_are_counted_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.deferrer.close()
    world.lot.failures = 1
    world.refuse("1", acknowledged=True)
    world.refuse("2")
    world.deferrer.close()
    assert "1 failed tasks that it had acknowledged cannot be parked" in caplog.text


def test_what_cannot_be_parked_as_a_worker_stops_is_not_called_lost_while_its_last_tasks_run(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.lot.failures = 1
    world.refuse("1", acknowledged=True)
    world.deferrer.close(last=False)
    world.deferrer.close()
    assert len(world.lot.moved) == 1
    assert "lost" not in caplog.text


def test_a_task_that_waits_for_a_time_says_until_when_by_the_store_s_clock(world: World) -> None:
    world.refuse("1", wait=5.0)
    world.refuse("2")
    world.work()
    notes = [Note.of(move.headers) for move in world.lot.moved]
    assert notes[0].due == pytest.approx(notes[0].since + 5.0)
    assert notes[1].due is None


def test_while_a_results_backend_is_away_it_is_not_asked_for_each_task(world: World) -> None:
    """Celery's backend for Redis tries for twenty seconds, in which nothing would be parked."""
    asked: list[str] = []
    now, away = [100.0], [True]

    def store_result(task_id: str, *_: Any, **__: Any) -> None:
        asked.append(task_id)
        if away[0]:
            raise ConnectionError("the backend is away")

    world.registry.clock = lambda: now[0]
    world.task.ignore_result, world.task.backend = False, SimpleNamespace(store_result=store_result)
    for number in range(5):
        world.refuse(str(number))
    world.work()
    assert (asked, len(world.lot.moved)) == (["0"], 5)
    now[0], away[0] = 110.0, False
    for number in range(5, 8):
        world.refuse(str(number))
    world.work()
    assert asked == ["0", "5", "6", "7"]


def test_that_a_closed_breaker_has_parked_something_is_told_at_once(world: World) -> None:
    told: list[str] = []
    world.deferrer._unexpected = lambda: told.append("parked")
    world.refuse("1")
    world.work()
    cell = world.registry.cell("svc")
    world.registry.change(cell, lambda record, now: machine.expect_backlog(record))
    world.refuse("2")
    world.work()
    assert told == ["parked"], "once the record says so, whoever tends looks anyway"


def test_the_note_counts_deferrals_and_remembers_the_first(world: World) -> None:
    world.refuse("1", headers=Note(deferrals=2, first=5.0).on({}))
    world.work()
    note = Note.of(world.lot.moved[0].headers)
    assert (note.deferrals, note.first, note.queue, note.breaker) == (3, 5.0, "celery", "svc")


def test_a_retry_goes_back_to_its_queue_with_an_eta(world: World) -> None:
    world.refuse("1", action="retry")
    world.work()
    assert world.lot.moved[0].queue == "celery"
    assert world.lot.moved[0].headers["eta"]


def test_the_main_loop_is_woken_to_acknowledge_what_was_parked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery hands an acknowledgement to its loop, which kombu before 5.7 leaves asleep for up to a second."""
    acked_when_woken: list[list[str]] = []
    waker = SimpleNamespace(wake=lambda: acked_when_woken.append(list(world.acked)))
    monkeypatch.setattr(world.loop, "_waker", waker)
    world.refuse("1")
    world.work()
    assert acked_when_woken == [["1"]]


def test_what_was_parked_is_told_once(world: World) -> None:
    world.refuse("1")
    world.refuse("2")
    world.work()
    assert world.deferrer.take_parked() == {"svc"}
    assert world.deferrer.take_parked() == set()


def test_meters_are_told_of_a_task_when_it_has_been_set_aside_and_not_before(world: World) -> None:
    told: list[tuple[str, str]] = []

    class Told(Meter):
        def deferred(self, name: str, action: str) -> None:
            told.append((name, action))

    world.registry.meters.add(Told())
    world.lot.failures = 1
    world.refuse("a")
    world.refuse("b", action="retry")
    world.work()
    assert told == []
    world.work()
    assert told == [("svc", "park"), ("svc", "retry")]


def test_django_that_is_imported_and_not_set_up_keeps_nothing_from_being_parked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []
    db = SimpleNamespace(close_old_connections=lambda: asked.append(True))
    monkeypatch.setitem(sys.modules, "django.db", db)
    for configured in (False, True):
        conf = SimpleNamespace(settings=SimpleNamespace(configured=configured))
        monkeypatch.setitem(sys.modules, "django.conf", conf)
        close_stale_database_connections()
        assert asked == [True] * configured
