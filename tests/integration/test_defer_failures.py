"""Failures that set their own tasks aside: nothing fails, nothing is lost, and each task succeeds once."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

import pytest
from celery import Task, chain, chord, group
from celery.result import allow_join_result
from kombu import pools

from tests.integration import failing, guarded
from tests.support.breakers import QUICK, breaker_in, conf, logged, tripped
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Worker, WorkerFactory

CLOSED = {**QUICK, "max_failures": 1000, "defer_failures": True}
"""A breaker that stays closed whatever happens, so that only its tasks' own back-off brings them back."""

OPENS = {**QUICK, "defer_failures": True}
BROKERS = ["redis", "rabbitmq"]

Start = Callable[..., Worker]


@pytest.fixture
def start(worker_factory: WorkerFactory, redis_server: Any) -> Start:
    """A worker whose breaker `svc` has this policy."""

    def started(policy: Mapping[str, Any], **options: Any) -> Worker:
        imports = ["tests.integration.tasks", "tests.integration.guarded", "tests.integration.failing"]
        more = options.pop("conf", {})
        settings = conf(redis_server, breakers={"svc": policy}, imports=imports, **more)
        worker = worker_factory(conf=settings, **options)
        worker.app.set_current()
        return worker

    return started


def told(signals: Path) -> Counter[str]:
    """How often each signal of a task was sent; those of its end come when its result is there already."""
    lines = signals.read_text().splitlines() if signals.exists() else []
    return Counter(line.split()[0] for line in lines)


@pytest.mark.parametrize("task", [guarded.once, failing.late], ids=["early acks", "late acks"])
@pytest.mark.parametrize("broker", BROKERS)
def test_five_hundred_tasks_ride_out_an_outage_without_one_failure(
    start: Start, service: Service, tmp_path: Path, broker: str, task: Task[Any, Any]
) -> None:
    signals = tmp_path / "signals"
    policy = {**OPENS, "max_failures": 10, "ramp_start": 100}
    options: dict[str, Any] = {"broker": broker, "concurrency": 2, "env": {failing.SIGNALS: str(signals)}}
    first = start(policy, **options)
    start(policy, conf={"breaker_store_prefix": first.conf["breaker_store_prefix"]}, **options)
    seen = breaker_in(first.app, "svc")
    service.go_down()
    began = time.monotonic()
    results = [task.delay(service.folder, number) for number in range(500)]
    eventually(lambda: seen.parked() > 400, lambda: f"parked: {seen.parked()}", timeout=60)
    eventually(lambda: time.monotonic() - began > 2.5, "the outage should last", timeout=10)
    service.come_back()
    assert sorted(result.get(timeout=90) for result in results) == list(range(500))
    assert Counter(service.served()) == Counter(range(500)), "each succeeded once"
    assert len(service.refused()) >= 10, "some must have failed"
    eventually(lambda: told(signals)["success"] == 500, lambda: f"all should be told: {told(signals)}")
    assert told(signals)["failure"] == 0
    eventually(lambda: seen.parked() == 0, "the parking queue should be empty")


@pytest.mark.parametrize("broker", BROKERS)
def test_a_task_comes_back_after_its_back_off_though_the_breaker_stays_closed(
    start: Start, service: Service, broker: str
) -> None:
    worker = start(CLOSED, broker=broker)
    seen = breaker_in(worker.app, "svc")
    assert failing.flaky.delay(service.folder, 7, 2).get(timeout=60) == 7
    runs = [float(at) for (at,) in service.noted("runs-7")]
    assert len(runs) == 3
    assert runs[1] - runs[0] >= 0.9, "a first second"
    assert runs[2] - runs[1] >= 1.9, "and then two"
    assert seen.state == "closed"
    assert seen.parked() == 0


@pytest.mark.parametrize("broker", BROKERS)
def test_canvas_goes_on_as_if_nothing_had_failed(start: Start, service: Service, broker: str) -> None:
    start(CLOSED, broker=broker, concurrency=2)
    folder, flaky = service.folder, failing.flaky
    failed = guarded.on_error.s(folder)
    body = guarded.total.s().on_error(failed)
    in_chord = chord([flaky.s(folder, 1), guarded.once.s(folder, 2), flaky.s(folder, 3)])(body)
    in_chain = chain(flaky.si(folder, 4), flaky.si(folder, 5), guarded.total.si([4, 5])).delay()
    in_group = group(flaky.s(folder, number) for number in (6, 7)).delay()
    linked = flaky.apply_async((folder, 8), link=flaky.si(folder, 9), link_error=failed)
    assert in_chord.get(timeout=60) == 6
    assert in_chain.get(timeout=60) == 9
    assert in_group.get(timeout=60) == [6, 7]
    assert linked.get(timeout=60) == 8
    eventually(lambda: len(service.noted("runs-9")) == 2, "the link should run until it succeeds", timeout=30)
    assert all(len(service.noted(f"runs-{number}")) == 2 for number in (1, 3, 4, 5, 6, 7, 8))
    assert service.noted("errbacks") == []


def test_nobody_hears_of_a_failure_that_is_deferred(start: Start, service: Service, tmp_path: Path) -> None:
    signals = tmp_path / "signals"
    worker = start(CLOSED, args=["-E"], env={failing.SIGNALS: str(signals)})
    heard: list[str] = []
    with worker.app.connection_for_read() as connection:
        receiver = worker.app.events.Receiver(connection, handlers={"*": lambda event: heard.append(event["type"])})
        sent: list[Any] = []
        receiver.on_consume_ready = lambda *_, **__: sent.append(failing.flaky.delay(service.folder, 1))
        states: set[str] = set()
        for _ in receiver.itercapture(limit=None, timeout=60, wakeup=True):
            states |= {result.state for result in sent}
            if "task-succeeded" in heard:
                break
    assert [result.get(timeout=60) for result in sent] == [1]
    assert "DEFERRED" in states
    assert states <= {"PENDING", "DEFERRED", "SUCCESS"}
    assert "task-failed" not in heard
    assert heard.count("task-succeeded") == 1
    eventually(lambda: told(signals)["postrun"] == 2, "the end should be told")
    assert signals.read_text().splitlines() == [
        "postrun failing.flaky IGNORED",
        "success failing.flaky ",
        "postrun failing.flaky SUCCESS",
    ]


@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize(
    "task", [failing.hang, failing.hang_late, failing.soft, failing.die], ids=lambda task: task.name
)
def test_a_hang_and_a_lost_process_are_deferred_too(
    start: Start, service: Service, tmp_path: Path, task: Task[Any, Any], broker: str
) -> None:
    signals = tmp_path / "signals"
    start(CLOSED, broker=broker, env={failing.SIGNALS: str(signals)})
    result = task.apply_async((service.folder, 1), link_error=guarded.on_error.s(service.folder))
    assert result.get(timeout=60) == 1
    assert len(service.noted("runs-1")) == 2
    assert service.noted("errbacks") == []
    eventually(lambda: told(signals)["success"] == 1, "the success should be told")
    assert told(signals)["failure"] == 0


@pytest.mark.parametrize("pool", ["threads", "gevent", "solo"])
@pytest.mark.parametrize("broker", BROKERS)
def test_tasks_that_failed_come_back_in_every_pool(start: Start, service: Service, pool: str, broker: str) -> None:
    worker = start(OPENS, broker=broker, pool=pool, concurrency=4)
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    late = [failing.late.delay(service.folder, number) for number in range(20)]
    early = [guarded.once.delay(service.folder, number) for number in range(20, 40)]
    eventually(lambda: seen.parked() >= 40, lambda: f"parked: {seen.parked()}", timeout=60)
    service.come_back()
    assert sorted(result.get(timeout=60) for result in (*late, *early)) == list(range(40))
    eventually(lambda: len(service.served()) == 43, "what tripped it should succeed as well", timeout=20)


@pytest.mark.parametrize("limit", [{"max_deferrals": 2}, {"max_deferral_age": 2}], ids=lambda limit: next(iter(limit)))
def test_past_its_limit_the_task_fails_with_its_own_exception(
    start: Start, service: Service, limit: dict[str, int]
) -> None:
    start({**CLOSED, **limit})
    result = failing.flaky.apply_async((service.folder, 1, 100), link_error=guarded.on_error.s(service.folder))
    with allow_join_result(), pytest.raises(Exception, match="not yet"):
        result.get(timeout=60)
    eventually(lambda: service.noted("errbacks") == [["ServiceDown"]], "the errback should be called")
    assert len(service.noted("runs-1")) == 3


@pytest.mark.parametrize("broker", BROKERS)
def test_a_recovery_brings_back_what_would_have_waited_for_minutes(start: Start, service: Service, broker: str) -> None:
    worker = start(CLOSED, broker=broker)
    seen = breaker_in(worker.app, "svc")
    result = failing.asked.delay(service.folder, 1)
    eventually(lambda: seen.parked() == 1, "it should be parked", timeout=20)
    time.sleep(2)  # two rounds of the agent
    eventually(lambda: seen.parked() == 1, "it was asked to wait longer; now and then the agent has it in hand")
    assert len(service.noted("runs-1")) == 1
    seen.breaker.open(reason="an outage")
    seen.breaker.reset(reason="over")
    assert result.get(timeout=30) == 1


@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize("task", [failing.slowly, failing.slowly_late], ids=["early acks", "late acks"])
def test_a_connection_that_is_lost_while_the_task_runs_loses_no_task(
    start: Start,
    service: Service,
    broker: str,
    task: Task[Any, Any],
    redis_server: Any,
    request: pytest.FixtureRequest,
) -> None:
    worker = start(CLOSED, broker=broker, concurrency=1)
    result = task.delay(service.folder, 1)
    eventually(lambda: len(service.noted("runs-1")) == 1, "it should run", timeout=20)
    if broker == "redis":
        with redis_server.client(0) as client:
            client.client_kill_filter(_type="normal", skipme=True)
        request.addfinalizer(pools.reset)  # this process's own are dead too, and other tests would be given them
    else:
        rabbitmq, vhost = request.getfixturevalue("rabbitmq_server"), worker.conf["broker_url"].rpartition("/")[2]

        def names() -> set[str]:  # RabbitMQ takes a few seconds to list a connection
            with suppress(HTTPError):
                return {one["name"] for one in json.loads(rabbitmq.api("GET", f"vhosts/{vhost}/connections"))}
            return set()

        eventually(names, "the worker's connections should be listed", timeout=20, interval=0.5)
        for name in names():
            with suppress(HTTPError):  # it went with another one of the worker's
                rabbitmq.api("DELETE", f"connections/{quote(name)}")
    worker.wait_for_log("[Cc]onnection to broker lost")
    logged(worker, "Connected to ", 2)
    Path(service.folder, "end").touch()
    assert result.get(timeout=60) == 1
    seen = breaker_in(worker.app, "svc")
    time.sleep(3)
    assert seen.parked() == 0
    assert len(service.noted("runs-1")) == 2, "the broker, or the parking queue, gives it back, and not both"


def test_its_own_retry_goes_first(start: Start, service: Service) -> None:
    worker = start(CLOSED)
    assert failing.own_retry.delay(service.folder, 1).get(timeout=60) == 1
    assert len(service.noted("runs-1")) == 2
    assert breaker_in(worker.app, "svc").parked() == 0


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_result_that_classifies_as_a_failure_is_deferred(start: Start, service: Service, pool: str) -> None:
    worker = start({**CLOSED, "classify": "tests.integration.guarded.classify"}, pool=pool)
    assert failing.judged.delay(service.folder, 1).get(timeout=60) == "good"
    assert len(service.noted("runs-1")) == 2
    assert breaker_in(worker.app, "svc").parked() == 0


@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_fails_while_the_worker_stops_is_not_lost(start: Start, service: Service, pool: str, broker: str) -> None:
    worker = start(CLOSED, broker=broker, pool=pool, concurrency=3)
    for number in range(3):
        guarded.slow_failure.delay(service.folder, number, 2)
    eventually(lambda: len(service.noted("started")) == 3, "all should run", timeout=20)
    assert worker.stop() == 0
    assert breaker_in(worker.app, "svc").parked() == 3


def test_a_deferred_probe_opens_the_breaker_again(start: Start, service: Service) -> None:
    worker = start(OPENS)
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    trips = seen.breaker._fresh().trips
    eventually(lambda: seen.breaker._fresh().trips > trips, "a probe should have failed", timeout=30)
    eventually(lambda: seen.parked() == 3, "it should be parked again", timeout=20)
    service.come_back()
    eventually(lambda: len(service.served()) == 3, "all should be released", timeout=30)
