"""`celery breaker doctor` against real brokers and workers: what it sees of them, and that it leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Queue

from celery_breaker.core.record import State
from celery_breaker.plugin.doctor.broker import broker_facts
from celery_breaker.plugin.parking.lot import parking_queue
from celery_breaker.stores.url import open_store
from tests.chaos.clocks import off_by
from tests.support.servers import RabbitMQServer
from tests.support.waiting import eventually
from tests.support.workers import Worker, WorkerFactory

PARKING = parking_queue("svc")
BREAKERS = {"svc": {"tasks": ["tests.*"]}}
Report = dict[str, Any]


@pytest.fixture
def report(celery_command: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., Report]:
    """`report(conf)` → what a `celery breaker doctor --json` of its own process says, and `code`, its exit code."""

    def run(conf: Mapping[str, Any], *args: str, **more: str) -> Report:
        done = celery_command("breaker", "doctor", "--json", *args, conf=conf, **more)
        assert done.stdout, done.stderr
        return {**json.loads(done.stdout), "code": done.returncode}

    return run


def checks(report: Report) -> set[str]:
    return {finding["check"] for finding in report["findings"]}


@pytest.fixture
def rabbit(make_broker: Callable[[str], Any]) -> Any:
    return make_broker("rabbitmq")


def conf_of(broker: Any, **more: Any) -> dict[str, Any]:
    return {**broker.conf, "breakers": BREAKERS, **more}


def queues_of(broker: Any) -> set[str]:
    vhost = broker.conf["broker_url"].rpartition("/")[2]
    return {queue["name"] for queue in json.loads(broker.server.api("GET", f"queues/{vhost}"))}


# --- workers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_with_a_worker_online_there_is_nothing_to_change(
    report: Callable[..., Report], worker_factory: WorkerFactory, broker: str
) -> None:
    worker = worker_factory(broker=broker, conf={"breakers": BREAKERS})
    said = report(worker.conf)
    assert (said["findings"], said["code"]) == ([], 0)
    assert list(said["workers"]) == [worker.hostname]
    assert abs(said["workers"][worker.hostname]) < 1
    assert said["store"]["why"] == "the results backend is Redis"


@pytest.mark.processes("the machine's libfaketime sets its clock")
def test_a_worker_whose_clock_is_wrong_is_named(report: Callable[..., Report], worker_factory: WorkerFactory) -> None:
    worker = worker_factory(conf={"breakers": BREAKERS}, env=off_by(-90), app="tests.chaos.wrong_clock")
    said = report(worker.conf)
    assert said["workers"][worker.hostname] == pytest.approx(-90, abs=2)
    assert checks(said) == {"worker-clock"}
    assert said["code"] == 0
    assert report(worker.conf, "--strict")["code"] == 1


def test_two_workers_with_memory_each_are_a_problem(
    report: Callable[..., Report], worker_factory: WorkerFactory
) -> None:
    conf = {"breakers": BREAKERS, "breaker_store": "memory://"}
    started = [worker_factory(conf=conf, wait=False) for _ in range(2)]
    for worker in started:
        worker.wait_ready()
    said = report(started[0].conf)
    assert (checks(said), said["code"]) == ({"store-shared"}, 1)


def test_a_worker_answers_for_the_message_store(report: Callable[..., Report], worker_factory: WorkerFactory) -> None:
    worker = worker_factory(broker="rabbitmq", backend=None, conf={"breakers": BREAKERS})
    said = report(worker.conf)
    assert said["store"]["url"] == "message://"
    assert (said["findings"], said["code"]) == ([], 0)


# --- RabbitMQ ---------------------------------------------------------------------------------------------------------


def test_a_parking_queue_with_other_arguments_is_found_and_left(report: Callable[..., Report], rabbit: Any) -> None:
    with Connection(rabbit.conf["broker_url"]) as connection:
        Queue(PARKING, durable=True, queue_arguments={"x-max-length": 5}, channel=connection).queue_declare()
    said = report(conf_of(rabbit))
    [finding] = [finding for finding in said["findings"] if finding["check"] == "parking-queue"]
    assert PARKING in finding["says"]
    assert "PRECONDITION_FAILED" in finding["says"]
    assert "empty and delete it" in finding["cure"]
    assert said["code"] == 1
    assert PARKING in queues_of(rabbit)


def test_a_parking_queue_that_is_there_as_it_should_be_is_left(report: Callable[..., Report], rabbit: Any) -> None:
    with Connection(rabbit.conf["broker_url"]) as connection:
        Queue(PARKING, durable=True, channel=connection).queue_declare()
    assert "parking-queue" not in checks(report(conf_of(rabbit)))
    assert [name for name in queues_of(rabbit) if "parked" in name] == [PARKING]


def test_a_parking_queue_that_is_not_there_is_tried_without_being_made(
    make_app: Callable[..., Any], rabbit: Any
) -> None:
    assert broker_facts(make_app(conf_of(rabbit)), ["svc"]).parking == {}
    assert not any(name.startswith("celery_breaker") for name in queues_of(rabbit))


@pytest.fixture
def restricted(rabbit: Any) -> Iterator[str]:
    """The URL of a user who may make Celery's queues, but none of ours."""
    server: RabbitMQServer = rabbit.server
    vhost = rabbit.conf["broker_url"].rpartition("/")[2]
    server.api("PUT", "users/clerk", b'{"password":"hunter2","tags":""}')
    allowed = b'"^(celery(ev)?(\\\\..*)?|.*pidbox.*|amq\\\\..*)$"'
    server.api(
        "PUT", f"permissions/{vhost}/clerk", b'{"configure":' + allowed + b',"write":' + allowed + b',"read":".*"}'
    )
    yield rabbit.conf["broker_url"].replace("guest:guest", "clerk:hunter2")
    server.api("DELETE", "users/clerk")


def test_a_user_who_may_not_make_parking_queues_is_told_so(
    report: Callable[..., Report], rabbit: Any, restricted: str
) -> None:
    said = report({**conf_of(rabbit), "broker_url": restricted, "breaker_store": "memory://"})
    [finding] = [finding for finding in said["findings"] if finding["check"] == "parking-queue"]
    assert "ACCESS_REFUSED" in finding["says"]
    assert "configure" in finding["cure"]
    assert "hunter2" not in json.dumps(said)


def test_quorum_queues_and_what_does_not_go_with_them_are_found(report: Callable[..., Report], rabbit: Any) -> None:
    breakers = {"svc": {"tasks": ["tests.*"], "on_open": "retry"}}
    conf = {**conf_of(rabbit), "breakers": breakers, "task_default_queue_type": "quorum"}
    said = report({**conf, "worker_detect_quorum_queues": False})
    problems = [
        one["says"] for one in said["findings"] if one["check"] == "quorum-queues" and one["severity"] == "problem"
    ]
    assert len(problems) == 2
    assert "quorum-queues" not in checks(report({**conf, "task_default_queue_type": "classic"}))


# --- nobody tends -----------------------------------------------------------------------------------------------------


def test_a_breaker_that_waits_for_its_probe_in_vain_is_found(
    report: Callable[..., Report],
    worker_factory: WorkerFactory,
) -> None:
    worker: Worker = worker_factory(conf={"breakers": BREAKERS, "breaker_tend_interval": 0.2})
    worker.kill()
    store = open_store(worker.app.conf.result_backend)
    record = store.read(["svc"]).records["svc"]
    late = store.now() - 60
    assert store.swap(replace(record, state=State.OPEN, generation=9, since=late, until=late), expected=record.version)
    said = report(worker.conf, "--wait", "0.2s")
    assert "tending" in checks(said)
    assert said["code"] == 1
    again = worker_factory(conf=worker.conf)
    eventually(lambda: "tending" not in checks(report(again.conf, "--wait", "0.2s")), "a worker tends", timeout=30)


# --- Django -----------------------------------------------------------------------------------------------------------

PROJECT = """
SECRET_KEY = "of a test"
INSTALLED_APPS = ["django_celery_results", "celery_breaker.django"]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {path!r}}}}}
USE_TZ = True
CELERY_RESULT_BACKEND = "django-db"
"""


def test_a_django_project_is_told_to_migrate(
    report: Callable[..., Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project_of_doctor.py").write_text(PROJECT.format(path=str(tmp_path / "db.sqlite3")))
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "project_of_doctor")
    conf = {"broker_url": "memory://", "breakers": BREAKERS}

    def look() -> Report:
        return report(conf, "--wait", "0.1", app="tests.integration.django_app")

    said = look()
    assert said["store"]["url"].startswith("django-db://")
    assert said["store"]["why"] == "the results are in Django's database"
    assert ("migrations" in checks(said), said["code"]) == (True, 1)
    subprocess.run(
        [sys.executable, "-m", "django", "migrate"], cwd=tmp_path, check=True, capture_output=True, timeout=60
    )
    assert (checks(look()), look()["code"]) == ({"workers"}, 0)
