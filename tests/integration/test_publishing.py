"""Publishing for an open breaker from a process that is no worker, to real brokers with real workers behind."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from celery import chain, chord, group

from celery_breaker import BreakerOpen
from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.parking.lot import parking_queue
from tests.integration import guarded
from tests.support.breakers import Seen, breaker_in, conf
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Worker, WorkerFactory

Start = Callable[..., tuple[Worker, Seen]]


@pytest.fixture
def start(worker_factory: WorkerFactory, redis_server: Any) -> Start:
    """A worker, and this process as one that publishes by the same settings, with the breaker forced open."""

    def begin(on_publish: str, broker: str = "redis") -> tuple[Worker, Seen]:
        settings = conf(redis_server, breaker_on_publish=on_publish)
        worker = worker_factory(broker=broker, concurrency=2, conf=settings)
        seen = breaker_in(worker.app, "svc")
        seen.breaker.open(reason="test")
        return worker, seen

    return begin


@pytest.mark.parametrize("broker", ["redis", "rabbitmq", "filesystem"])
def test_what_was_parked_at_once_runs_when_the_breaker_closes(start: Start, service: Service, broker: str) -> None:
    _, seen = start("park", broker)
    folder = service.folder
    alone = [guarded.once.apply_async((folder, number), priority=number % 10) for number in range(10)]
    in_chord = chord([guarded.once.s(folder, number) for number in (10, 11, 12)])(guarded.total.s())
    in_chain = chain(guarded.once.si(folder, 13), guarded.once.si(folder, 14), guarded.total.si([13, 14])).delay()
    in_group = group(guarded.once.s(folder, number) for number in (15, 16)).delay()
    linked = guarded.once.apply_async((folder, 17), link=guarded.once.si(folder, 18))
    assert seen.parked() == 17
    assert service.calls() == []
    seen.breaker.auto()
    assert [result.get(timeout=60) for result in alone] == list(range(10))
    assert (in_chord.get(timeout=60), in_chain.get(timeout=60), in_group.get(timeout=60)) == (33, 27, [15, 16])
    assert linked.get(timeout=60) == 17
    eventually(lambda: sorted(service.served()) == list(range(19)), "each task should have run once", timeout=60)
    assert seen.parked() == 0


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_task_that_was_parked_at_once_retries_into_its_own_queue(start: Start, service: Service, broker: str) -> None:
    _, seen = start("park", broker)
    service.go_down()
    result = guarded.call.delay(service.folder, 1)
    assert seen.parked() == 1
    seen.breaker.auto()
    eventually(service.refused, "it should have been called and failed", timeout=60)
    service.come_back()
    assert result.get(timeout=60) == 1
    assert seen.parked() == 0


def test_on_redis_one_list_keeps_the_order_and_the_release_gives_priorities_back(
    start: Start, service: Service, redis_server: Any
) -> None:
    worker, _ = start("park")
    worker.stop()
    for priority in (9, 0, 3, None):
        guarded.once.apply_async((service.folder, 1), priority=priority)
    registry = breakers_of(worker.app).registry
    with redis_server.client(0) as client:
        assert client.llen(parking_queue("svc")) == 4
        lot = breakers_of(worker.app).open_lot()
        assert [task.deferrals for task in lot.peek("svc", offset=0, count=9)] == [1, 1, 1, 1]
        assert lot.look(["svc"])["svc"].since == pytest.approx(registry.link.now(), abs=60)
        assert lot.release("svc", 10) == 4
        lot.close()
        steps = {step: client.lrange(f"celery\x06\x16{step}" if step else "celery", 0, -1) for step in (0, 3, 6, 9)}
    assert {step: len(found) for step, found in steps.items()} == {0: 2, 3: 1, 6: 0, 9: 1}
    urgent = json.loads(steps[9][0])
    assert urgent["properties"]["priority"] == 9
    assert urgent["properties"]["delivery_info"] == {"exchange": "", "routing_key": "celery"}
    assert "priority" not in urgent["headers"]["celery_breaker"]


def test_a_queue_that_no_worker_has_made_yet_is_there_at_the_release(start: Start, service: Service) -> None:
    worker, seen = start("park", "rabbitmq")
    guarded.once.apply_async((service.folder, 1), queue="later")
    assert seen.parked() == 1
    lot = breakers_of(worker.app).open_lot()
    assert lot.release("svc", 1) == 1
    assert lot.target_depth("svc") == 1
    lot.close()


def test_raise_and_the_view_of_a_web_process_follow_the_fleet(start: Start, service: Service) -> None:
    worker, seen = start("raise")
    with pytest.raises(BreakerOpen):
        guarded.once.delay(service.folder, 1)
    worker.app.send_task("celery_breaker.auto", ("svc",))  # the worker's doing, not this process's

    def admitted() -> bool:
        try:
            guarded.once.delay(service.folder, 2)
        except BreakerOpen:
            return False
        return True

    eventually(admitted, "the publisher's own view should follow", timeout=30)
    eventually(lambda: service.served() == [2], "what was refused was not published", timeout=30)
    assert seen.parked() == 0


def test_without_a_database_a_publisher_hears_it_from_the_workers(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    settings = conf(redis_server, breaker_on_publish="raise", breaker_store="message://")
    app = worker_factory(broker="rabbitmq", backend=None, conf=settings).app
    guarded.once.delay(service.folder, 1)
    app.send_task("celery_breaker.open", ("svc",), {"reason": "test"})

    def refused() -> bool:
        try:
            guarded.once.delay(service.folder, 2)
        except BreakerOpen:
            return True
        return False

    eventually(refused, "the publisher should hear of it", timeout=60)


def test_steps_that_a_worker_publishes_are_never_refused(start: Start, service: Service) -> None:
    worker, seen = start("raise")
    result = chain(guarded.total.si([1]), guarded.once.si(service.folder, 1)).delay()
    eventually(lambda: seen.parked() == 1, "the worker should park the second step", timeout=60)
    seen.breaker.auto()
    assert result.get(timeout=60) == 1
    assert "BreakerOpen" not in worker.logs()


def test_a_wrong_word_keeps_a_worker_from_starting(worker_factory: WorkerFactory, redis_server: Any) -> None:
    worker = worker_factory(conf=conf(redis_server, breaker_on_publish="rise"), wait=False)
    eventually(lambda: not worker.running, "the worker should give up", timeout=60)
    assert "breaker_on_publish='rise' is unknown; did you mean 'raise'?" in worker.logs()


def test_no_publish_waits_for_a_store_that_hangs(
    worker_factory: WorkerFactory, service: Service, make_redis: Callable[..., Any]
) -> None:
    store = make_redis()
    store.start()
    settings = conf(store, breaker_on_publish="raise", breaker_store_timeout=60, breaker_refresh_interval=0.1)
    app = worker_factory(conf=settings).app
    guarded.once.delay(service.folder, 0)
    store.pause()
    try:
        started = time.monotonic()
        for number in range(1, 6):
            guarded.once.delay(service.folder, number)
        assert time.monotonic() - started < 30
    finally:
        store.resume()
    eventually(lambda: len(service.served()) == 6, "all should run", timeout=60)
    assert app.conf.breaker_store_timeout == 60
