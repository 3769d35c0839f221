"""The parking queues as the desk sees them: a broker that is away or hangs is said, and never waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from celery import Celery

from celery_breaker.clock import ManualClock
from celery_breaker.errors import BrokerError
from celery_breaker.plugin import signals
from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.parking.lot import Pace, parking_queue
from celery_breaker.plugin.parking.note import Note
from celery_breaker.plugin.parking.yard import AppYard
from celery_breaker.status import ParkedTask, Waiting
from tests.support.processes import free_port
from tests.support.waiting import eventually


class SlowLot:
    """A lot whose looks take as long as a test likes."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.looks = self.closed = 0
        self.error: Exception | None = None

    pace = Pace()

    def look(self, names: Iterable[str]) -> dict[str, Waiting]:
        self.looks += 1
        self.go.wait(10)
        if self.error:
            raise self.error
        return {name: Waiting(1, 5.0) for name in names}

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def app(make_app: Callable[..., Celery], make_broker: Callable[[str], Any]) -> Celery:
    return make_app(make_broker("redis").conf)


def park(app: Celery, count: int) -> None:
    for number in range(count):
        note = Note().again(breaker="svc", queue="origin", now=1000.0 + number)
        app.send_task("tests.add", (number, 0), queue=parking_queue("svc"), headers=note.on({}))


def test_a_look_waits_no_longer_than_it_may_and_asks_no_second_time_meanwhile(app: Celery) -> None:
    lot: Any = SlowLot()
    yard = AppYard(app, lambda: lot)
    started = time.monotonic()
    assert yard.look(["svc"], patience=0.05) == {}
    assert yard.look(["svc"], patience=0.05) == {}
    assert time.monotonic() - started < 2
    assert lot.looks == 1
    lot.go.set()
    eventually(lambda: yard.look(["svc"], patience=1.0) == {"svc": Waiting(1, 5.0)}, "it should answer again")


def test_where_looks_cost_money_who_watches_gets_the_last_one_until_something_is_done(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock(100.0)
    monkeypatch.setattr("celery_breaker.plugin.parking.yard.monotonic", clock)
    lot: Any = SlowLot()
    lot.go.set()
    lot.pace, lot.purge = Pace(watch=10.0), lambda name: 1
    yard = AppYard(app, lambda: lot)
    looks = []
    for step in (lambda: None, lambda: clock.advance(9), lambda: clock.advance(1), lambda: yard.purge("svc")):
        step()
        assert yard.look(["svc"], patience=5.0)["svc"].size == 1
        looks.append(lot.looks)
    assert looks == [1, 1, 2, 3]
    yard.look(["svc", "other"], patience=5.0)
    assert lot.looks == 4, "the last one did not see the other"


def test_a_look_that_fails_shows_nothing_and_connects_anew(app: Celery) -> None:
    lot: Any = SlowLot()
    lot.go.set()
    lot.error = ConnectionResetError("gone")
    yard = AppYard(app, lambda: lot)
    assert yard.look(["svc"], patience=5.0) == {}
    assert lot.closed == 1
    lot.error = None
    assert yard.look(["svc"], patience=5.0)["svc"].size == 1


def test_what_is_parked_is_seen_released_and_deleted(app: Celery) -> None:
    yard = breakers_of(app).desk.yard
    told: list[int] = []

    def hear(count: int, **_: Any) -> None:
        told.append(count)

    signals.task_released.connect(hear)
    try:
        park(app, 5)
        assert yard.look(["svc"], patience=5.0) == {"svc": Waiting(5, 1000.0)}
        assert [task.since for task in yard.peek("svc", offset=1, count=2)] == [1001.0, 1002.0]
        assert (yard.release("svc", 2), yard.size("svc")) == (2, 3)
        assert (yard.release("svc", 100), yard.size("svc")) == (3, 0)
        assert (yard.release("svc", None), yard.purge("svc")) == (0, 0)
        assert told == [2, 3]
        park(app, 2)
        assert (yard.purge("svc"), yard.size("svc")) == (2, 0)
    finally:
        signals.task_released.disconnect(hear)


def test_a_broker_that_is_away_is_one_sentence_without_its_password(make_app: Callable[..., Celery]) -> None:
    app = make_app({"broker_url": f"redis://:s3cret@127.0.0.1:{free_port()}/0", "breaker_store": "memory://"})
    yard = breakers_of(app).desk.yard
    calls: list[Callable[[], object]] = [
        lambda: yard.size("svc"),
        lambda: yard.peek("svc", offset=0, count=1),
        lambda: yard.release("svc", None),
        lambda: yard.purge("svc"),
    ]
    for call in calls:
        with pytest.raises(BrokerError, match="the broker cannot be reached") as caught:
            call()
        assert "s3cret" not in str(caught.value)
    assert yard.look(["svc"], patience=5.0) == {}


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_the_desk_shows_parked_tasks_in_pages(
    make_app: Callable[..., Celery], make_broker: Callable[[str], Any], kind: str
) -> None:
    app = make_app({**make_broker(kind).conf, "breaker_store": "memory://"})
    park(app, 3)
    desk = breakers_of(app).desk
    eventually(lambda: desk.yard.size("svc") == 3, "all should be parked")
    shown: list[ParkedTask] = desk.parked("svc", offset=0, count=2) + desk.parked("svc", offset=2, count=2)
    assert [(task.task, task.queue, task.since) for task in shown] == [
        ("tests.add", "origin", 1000.0 + number) for number in range(3)
    ]
