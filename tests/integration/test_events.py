"""Events of breakers beside Celery's own: a receiver, ``celery events`` and Flower hear a real worker in an outage."""

from __future__ import annotations

import itertools
import json
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.integration import guarded
from tests.support.breakers import breaker_in, conf, tripped
from tests.support.processes import Process, free_port
from tests.support.servers import RedisServer
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Worker, WorkerFactory, celery_argv, environment

Heard = list[dict[str, Any]]


@contextmanager
def receiving(app: Celery) -> Iterator[Heard]:
    """All events from here on, as they come."""
    heard: Heard = []
    ready = threading.Event()
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": heard.append})
        receiver.on_consume_ready = lambda *_, **__: ready.set()
        thread = threading.Thread(target=receiver.capture, kwargs={"wakeup": False}, daemon=True)
        thread.start()
        assert ready.wait(10)
        yield heard
        receiver.should_stop = True
        thread.join(10)


def of(heard: Heard, kind: str) -> Heard:
    return [event for event in list(heard) if event["type"] == kind]


def ride_out_an_outage(worker: Worker, service: Service, *, tasks: int = 30) -> None:
    """Trip ``svc``, park some tasks, recover, and wait until they have run."""
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    worker.wait_for_log("breaker 'svc' (opened|is open)")  # its gate is shut, not only the store's record
    for number in range(tasks):
        guarded.once.delay(service.folder, number)
    eventually(lambda: seen.parked() >= tasks - 5, lambda: f"parked: {seen.parked()}", timeout=30)
    service.come_back()
    eventually(lambda: set(range(tasks)) <= set(service.served()), "all should have run", timeout=60)


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_receiver_hears_an_outage_from_the_trip_to_the_release(
    worker_factory: WorkerFactory, redis_server: RedisServer, service: Service, pool: str
) -> None:
    worker = worker_factory(pool=pool, conf=conf(redis_server), args=["-E"])
    with receiving(worker.app) as heard:
        ride_out_an_outage(worker, service)
        eventually(lambda: sum(e["count"] for e in of(heard, "breaker-task-released")) >= 30, "all should be told")
        eventually(lambda: of(heard, "breaker-closed"), "the recovery should be told")
    [opened, *_] = of(heard, "breaker-opened")
    assert opened["name"] == "svc" and opened["state"] == "open" and opened["hostname"] == worker.hostname
    assert opened["generation"] == 1 and 0 < opened["retry_after"] <= 2
    assert "failed" in opened["reason"]
    assert of(heard, "breaker-half-opened")
    deferred = of(heard, "breaker-task-deferred")
    assert sum(event["count"] for event in deferred) >= 25
    assert len(deferred) < 25, "told in sums, not one by one"
    by_second = sorted(event["timestamp"] for event in deferred)
    assert all(later - earlier > 0.8 for earlier, later in itertools.pairwise(by_second))
    per_change = Counter((event["generation"], event["type"]) for event in heard if event["type"] == "breaker-opened")
    assert set(per_change.values()) == {1}
    assert "goes on" not in worker.logs(), "nothing of ours should have failed"


@pytest.mark.parametrize("more", [{}, {"breaker_store": "message://"}], ids=["redis", "no database"])
def test_two_workers_tell_each_change_once_also_one_from_the_command_line(
    worker_factory: WorkerFactory, redis_server: RedisServer, celery_command: Callable[..., Any], more: dict[str, Any]
) -> None:
    settings = conf(redis_server, **more)
    workers = [worker_factory(pool="threads", conf=settings, args=["-E"], wait=False) for _ in range(2)]
    for worker in workers:
        worker.wait_ready()
    breaker = partial(celery_command, "breaker", conf=workers[0].conf)
    with receiving(workers[0].app) as heard:
        assert breaker("open", "svc", "--reason", "we move").returncode == 0
        eventually(lambda: of(heard, "breaker-opened"), "it should be told", timeout=20)
        assert breaker("auto", "svc").returncode == 0
        eventually(lambda: of(heard, "breaker-closed"), "it should be told", timeout=20)
        time.sleep(1.5)  # the other worker's refresh is over by now
    [opened], [closed] = of(heard, "breaker-opened"), of(heard, "breaker-closed")
    assert (opened["reason"], opened["mode"], opened["retry_after"]) == ("we move", "forced_open", None)
    assert "@" in opened["by"]
    assert closed["mode"] == "auto"


def test_a_worker_without_events_tells_nothing_until_it_is_told_to(
    worker_factory: WorkerFactory, redis_server: RedisServer, celery_command: Callable[..., Any]
) -> None:
    worker = worker_factory(pool="threads", conf=conf(redis_server))
    with receiving(worker.app) as heard:
        celery_command("breaker", "open", "svc", conf=worker.conf)
        eventually(lambda: breaker_in(worker.app, "svc").breaker.retry_after is None, "it should be open")
        worker.app.control.enable_events()
        worker.wait_for_log("enabled by remote")
        celery_command("breaker", "auto", "svc", conf=worker.conf)
        eventually(lambda: of(heard, "breaker-closed"), "it should be told", timeout=20)
    assert not of(heard, "breaker-opened")


def test_celery_events_shows_ours(
    worker_factory: WorkerFactory, redis_server: RedisServer, service: Service, tmp_path: Path
) -> None:
    worker = worker_factory(pool="threads", conf=conf(redis_server), args=["-E"])
    dump = Process(
        celery_argv("events", "--dump"),
        name="events", log=tmp_path / "events.log", env=environment(worker.conf), cwd=tmp_path,
    )  # fmt: skip
    worker_factory.keep(dump)
    dump.start()
    dump.wait_for_log("worker.heartbeat|heartbeat", timeout=30)
    ride_out_an_outage(worker, service)
    for kind in ("opened", "half opened", "closed", "task deferred", "task released"):
        dump.wait_for_log(rf"breaker {kind}: .*name=svc", timeout=20)
    assert dump.running


def test_flower_beside_us_is_not_upset(
    worker_factory: WorkerFactory, redis_server: RedisServer, service: Service, tmp_path: Path
) -> None:
    pytest.importorskip("flower", reason="Flower does not install with this Celery")
    worker = worker_factory(pool="threads", conf=conf(redis_server), args=["-E"])
    port = free_port()
    flower = Process(
        celery_argv("flower", "--address=127.0.0.1", f"--port={port}"),
        name="flower",
        log=tmp_path / "flower.log",
        env=environment(worker.conf, {"FLOWER_UNAUTHENTICATED_API": "true"}),
        cwd=tmp_path,
    )
    worker_factory.keep(flower)
    flower.start()

    def ask(path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            assert answer.status == 200
            return answer.read()

    def workers() -> Any:
        try:
            return json.loads(ask("/api/workers?refresh=1"))
        except OSError:
            return None

    eventually(lambda: worker.hostname in (workers() or {}), lambda: f"no answer:\n{flower.tail()}", timeout=40)
    ride_out_an_outage(worker, service)
    assert worker.hostname in workers()
    tasks = json.loads(ask("/api/tasks"))
    assert {task["name"] for task in tasks.values()} == {"guarded.once"}
    assert worker.hostname.encode() in ask("/workers")
    assert flower.running
    assert "Traceback" not in flower.logs()
