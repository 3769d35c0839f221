"""The agent: from beat or from a worker, one at a time, and whoever holds its lease may die."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration import guarded
from tests.support.breakers import QUICK, breaker_in, conf, tripped
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory


def test_beat_reminds_the_agent_through_an_entry_of_its_own(
    worker_factory: WorkerFactory, beat_factory: Any, service: Service, redis_server: Any
) -> None:
    worker = worker_factory(conf=conf(redis_server))
    beat = beat_factory(worker.conf)
    beat.wait_for_log(r"Sending due task celery_breaker\.tend")
    with redis_server.client(0) as client:
        eventually(lambda: client.llen("celery") == 0, "a worker should take the reminders")
    assert "celery_breaker.tend[" not in worker.logs(), "without a pool slot, and without a line each"
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    result = guarded.once.delay(service.folder, 1)
    eventually(lambda: seen.parked() == 1, "it should be parked", timeout=20)
    service.come_back()
    assert result.get(timeout=20) == 1


def test_recovery_outlives_the_worker_that_held_the_lease(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    settings = conf(redis_server)
    first = worker_factory(conf=settings)
    seen = breaker_in(first.app, "svc")
    tripped(seen, service)
    result = guarded.once.delay(service.folder, 1)
    eventually(lambda: seen.parked() == 1, "it should be parked", timeout=20)
    first.kill()
    service.come_back()
    worker_factory(conf=settings)
    assert result.get(timeout=40) == 1


def test_a_health_check_spends_no_task(worker_factory: WorkerFactory, service: Service, redis_server: Any) -> None:
    policy = {**QUICK, "health_check": "tests.integration.guarded.check_health"}
    worker = worker_factory(conf=conf(redis_server, breakers={"svc": policy}), env={"GUARDED_SERVICE": service.folder})
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    before = len(service.refused())
    results = [guarded.once.delay(service.folder, number) for number in range(3)]
    eventually(lambda: len(service.noted("checks")) >= 3, "it should be checked time and again", timeout=20)
    assert len(service.refused()) == before
    service.come_back()
    assert sorted(result.get(timeout=20) for result in results) == [0, 1, 2]


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_trip_on_one_worker_gates_the_other_without_waiting_for_the_refresh(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, broker: str
) -> None:
    settings = conf(redis_server, breakers={"svc": {**QUICK, "recovery_timeout": 60}}, breaker_refresh_interval=600)
    one = worker_factory(broker=broker, conf=settings, queues=["one"])
    two = worker_factory(broker=broker, conf=settings, queues=["two"])
    seen = breaker_in(one.app, "svc")
    service.go_down()
    for number in range(3):
        guarded.once.apply_async((service.folder, number), queue="one")
    two.wait_for_log(r"breaker 'svc' is open, says the store")
    guarded.once.apply_async((service.folder, 9), queue="two")
    eventually(lambda: seen.parked() == 1, "the other worker should park it", timeout=20)
    assert len(service.refused()) == 3


def test_a_store_that_is_down_at_start_does_not_stop_a_worker(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, make_redis: Any
) -> None:
    store = make_redis()
    settings = conf(redis_server, breaker_store=store.url_for(0))
    store.stop()
    worker = worker_factory(conf=settings)
    worker.wait_for_log(r"store is out of reach")
    assert worker.app
    service.go_down()
    for number in range(3):
        guarded.once.delay(service.folder, number)
    worker.wait_for_log(r"breaker 'svc' opened")
    result = guarded.once.delay(service.folder, 9)
    eventually(lambda: result.state == "DEFERRED", "its own breaker should park it", timeout=20)
    service.come_back()
    assert result.get(timeout=20) == 9
    store.start()
    worker.wait_for_log(r"store is back")


def test_an_operators_word_can_be_a_scheduled_task(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    worker = worker_factory(conf=conf(redis_server))
    seen = breaker_in(worker.app, "svc")
    worker.app.send_task("celery_breaker.open", ("svc",), {"reason": "maintenance", "expires": 600})
    eventually(lambda: seen.breaker.mode == "forced_open", "it should be forced open", timeout=20)
    worker.wait_for_log(r"breaker 'svc' is closed, forced_open")
    result = guarded.once.delay(service.folder, 1)
    eventually(lambda: seen.parked() == 1, "it should be parked", timeout=20)
    worker.app.send_task("celery_breaker.auto", ("svc",))
    assert result.get(timeout=20) == 1
