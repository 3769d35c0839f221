"""Remote control and the desk's view of workers: the real ``celery inspect`` and ``celery control``, real workers."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from celery_breaker.plugin.app import breakers_of
from tests.integration import guarded
from tests.support.breakers import QUICK, conf
from tests.support.servers import RedisServer
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Worker, WorkerFactory

Command = Callable[..., "subprocess.CompletedProcess[str]"]


class Fleet:
    """Workers of the same settings, and the command line that speaks to them."""

    def __init__(self, workers: list[Worker], command: Command) -> None:
        self.workers = workers
        self._command = command
        self.conf = workers[0].conf

    def __call__(self, *args: str) -> subprocess.CompletedProcess[str]:
        return self._command(*args, "--timeout", "2", conf=self.conf)

    def answers(self, *args: str) -> list[Any]:
        """What the workers answer, as JSON."""
        done = self(*args, "--json")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        one_each = said if isinstance(said, list) else [{name: answer} for name, answer in said.items()]
        return [answer for each in one_each for answer in each.values()]

    @property
    def desk(self) -> Any:
        return breakers_of(self.workers[0].app).desk


@pytest.fixture
def make_fleet(
    worker_factory: WorkerFactory, celery_command: Command, redis_server: RedisServer
) -> Callable[..., Fleet]:
    def make(count: int = 2, *, broker: str = "redis", **more: Any) -> Fleet:
        settings = conf(redis_server, **{"breakers": {"svc": QUICK, "crm": {}}, **more})
        workers = [worker_factory(broker=broker, pool="threads", conf=settings, wait=False) for _ in range(count)]
        for worker in workers:
            worker.wait_ready()
        assert workers[0].app  # current from here on
        return Fleet(workers, celery_command)

    return make


def history(fleet: Fleet, name: str) -> list[Any]:
    return [entry for entry in fleet.desk.history(name) if entry.by == "celery control"]


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_broadcast_opens_a_breaker_once_for_all(make_fleet: Callable[..., Fleet], broker: str) -> None:
    fleet = make_fleet(2, broker=broker)
    done = fleet("control", "breaker_open", "svc", "we move", "2h")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("breaker_open of 'svc' is under way") == 2
    eventually(lambda: fleet.desk.statuses(["svc"])[0].mode == "forced_open", "it should be forced open")
    [status] = fleet.desk.statuses(["svc"])
    assert (status.override_by, status.override_reason) == ("celery control", "we move")
    assert 7000 < status.override_expires_in <= 7200

    def views() -> list[str]:
        return [one["mode"] for answer in fleet.answers("inspect", "breakers", "svc") for one in answer["breakers"]]

    eventually(lambda: views() == ["forced_open"] * 2, "both workers should see it", timeout=20)
    fleet("control", "breaker_auto", "svc")
    eventually(lambda: fleet.desk.statuses(["svc"])[0].mode == "auto", "it should be lifted")
    fleet("control", "breaker_reset", "svc", "as new")
    eventually(lambda: len(history(fleet, "svc")) == 3, lambda: f"three entries, not {history(fleet, 'svc')}")
    time.sleep(1.0)  # a second worker's doing would come about now
    assert [entry.what for entry in reversed(history(fleet, "svc"))] == ["forced_open", "auto", "closed"]


def test_inspect_shows_each_worker_s_view(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(2)
    done = fleet("inspect", "breakers")
    assert done.returncode == 0
    assert "2 nodes online" in done.stdout
    for answer in fleet.answers("inspect", "breakers"):
        assert answer["connected"]
        svc = next(one for one in answer["breakers"] if one["name"] == "svc")
        assert (svc["state"], svc["known"], svc["policy"]["max_failures"]) == ("closed", True, QUICK["max_failures"])


def test_what_cannot_be_is_said_in_one_sentence_and_no_worker_minds(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(1)
    for args, said in {
        ("control", "breaker_open", "scv"): "did you mean 'svc'?",
        ("control", "breaker_close"): "say which breaker",
        ("inspect", "breakers", "cmr"): "did you mean 'crm'?",
    }.items():
        done = fleet(*args)
        assert said in done.stdout
        assert "Traceback" not in done.stdout + done.stderr
    for args in (("breaker_open", "svc", "why", "soon"), ("breaker_auto", "svc", "too", "much")):
        done = fleet("control", *args)
        assert done.returncode == 2
        assert "Usage" in done.stderr
        assert "Traceback" not in done.stderr
    assert "breaker_open NAME [REASON [EXPIRES]]" in " ".join(fleet("control", "--list").stdout.split())
    assert history(fleet, "svc") == []
    assert "Traceback" not in fleet.workers[0].logs()
    assert "pidbox command error" not in fleet.workers[0].logs()


def test_a_store_that_hangs_delays_no_answer_and_no_task(
    make_fleet: Callable[..., Fleet], make_redis: Callable[..., RedisServer], service: Service
) -> None:
    server = make_redis()
    fleet = make_fleet(1, breaker_store=server.url, breaker_store_timeout=8.0)
    [worker] = fleet.workers
    assert guarded.once.delay(service.folder, 1).get(timeout=20) == 1
    server.pause()
    control = worker.app.control
    started = time.monotonic()
    [answer] = control.broadcast("breaker_open", arguments={"name": "svc"}, reply=True, timeout=10, limit=1)
    assert control.ping(timeout=10, limit=1)
    assert guarded.once.delay(service.folder, 2).get(timeout=20) == 2
    assert time.monotonic() - started < 7.5, "less than one timeout of the store"
    assert "under way" in str(answer)
    server.resume()


def test_a_worker_tells_how_it_keeps_its_breakers(
    make_fleet: Callable[..., Fleet], make_redis: Callable[..., RedisServer], service: Service
) -> None:
    server = make_redis()
    fleet = make_fleet(2, breaker_store=server.url, breaker_store_timeout=0.3)
    seen = fleet.desk.fleet.workers(wait=5.0)
    assert [one.name for one in seen] == sorted(worker.hostname for worker in fleet.workers)
    assert {one.store for one in seen} == {fleet.desk.url}
    assert all(one.connected and one.view_age is not None and one.view_age < 60 for one in seen)

    service.go_down()
    for number in range(4):
        guarded.once.delay(service.folder, number)

    def holders() -> list[Any]:
        return [one for one in fleet.desk.fleet.workers(wait=2.0) or [] if one.agent]

    [holder] = eventually(holders, "one worker should hold the agent's lease", timeout=20)
    assert holder.tended is not None and holder.tended < 10

    server.pause()
    eventually(
        lambda: [one.connected for one in fleet.desk.fleet.workers(wait=2.0) or []] == [False, False],
        "both should say that the store is away",
        timeout=20,
    )
    assert "does not reach the store" in str(fleet.answers("control", "breaker_open", "svc"))
    server.resume()
    eventually(
        lambda: [one.connected for one in fleet.desk.fleet.workers(wait=2.0) or []] == [True, True],
        "both should have it back",
        timeout=30,
    )


def test_where_workers_cannot_be_asked_none_is_seen(make_app: Callable[..., Any], redis_server: RedisServer) -> None:
    app = make_app({"broker_url": "redis://127.0.0.1:1/0", "breaker_store": redis_server.url_for(2)})
    assert breakers_of(app).desk.fleet.workers(wait=0.2) is None
