"""Workers without a database: they tell each other what became of their breakers, over the broker alone."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from celery import Celery

from celery_breaker.core.record import State
from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.bus.peers import BusPeers
from tests.chaos.held import QUIET, fleet
from tests.integration import guarded
from tests.support.breakers import QUICK, breaker_in, tripped
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Worker, WorkerFactory

BROKERS = ["redis", "rabbitmq"]
SLOW = {**QUICK, "recovery_timeout": 60}


def conf(**more: Any) -> dict[str, Any]:
    return {
        "imports": ["tests.integration.tasks", "tests.integration.guarded"],
        "breakers": {"svc": SLOW},
        "breaker_store": "message://",
        "breaker_tend_interval": 1.0,
        "breaker_refresh_interval": 600.0,  # what is not told is not seen
        **more,
    }


def opened_at(worker: Worker) -> bool:
    return "breaker 'svc' is open" in worker.logs() or "breaker 'svc' opened" in worker.logs()


@pytest.mark.alone
@pytest.mark.parametrize("broker", BROKERS)
def test_one_trips_and_all_are_shut_within_a_second(
    worker_factory: WorkerFactory, service: Service, broker: str
) -> None:
    workers = fleet(worker_factory, 4, broker=broker, conf=conf())
    service.go_down()
    for number in range(3):
        guarded.once.apply_async((service.folder, number), queue="q0")
    eventually(lambda: opened_at(workers[0]), "it should trip", timeout=20)
    tripped_at = time.monotonic()
    eventually(lambda: all(opened_at(worker) for worker in workers), "all should know", timeout=20)
    assert time.monotonic() - tripped_at < 1.0
    calls = len(service.calls())
    for number in range(1, 4):
        guarded.once.apply_async((service.folder, 10 + number), queue=f"q{number}")
    seen = breaker_in(workers[0].app, "svc")
    eventually(lambda: seen.parked() == 3, lambda: f"parked: {seen.parked()}", timeout=20)
    assert len(service.calls()) == calls


@pytest.mark.parametrize("broker", BROKERS)
def test_a_worker_that_starts_later_knows_at_once(worker_factory: WorkerFactory, service: Service, broker: str) -> None:
    settings = conf(breakers={"svc": SLOW, "crm": {}})
    [first] = fleet(worker_factory, 1, broker=broker, conf=settings)
    seen = breaker_in(first.app, "svc")
    tripped(seen, service)
    breaker_in(first.app, "crm").breaker.disable(reason="we know")
    calls = len(service.calls())
    first.app.send_task("guarded.once", (service.folder, 50), queue="later")
    options = {"backend": None, "pool": "threads", "args": QUIET, "conf": settings, "broker": broker}
    later = worker_factory(queues=["later"], **options)
    eventually(lambda: seen.parked() == 1, "what waited for it should be parked", timeout=20)
    assert len(service.calls()) == calls
    assert "breaker 'svc' is open, says the store" in later.logs()
    assert "breaker 'crm' is closed, disabled, says the store" in later.logs()


@pytest.mark.parametrize("broker", BROKERS)
def test_operators_steer_workers_from_the_command_line(
    worker_factory: WorkerFactory,
    service: Service,
    celery_command: Callable[..., subprocess.CompletedProcess[str]],
    broker: str,
) -> None:
    workers = fleet(worker_factory, 2, broker=broker, conf=conf())

    def breaker(*args: str) -> subprocess.CompletedProcess[str]:
        return celery_command("breaker", *args, conf=workers[0].conf)

    opened = breaker("open", "svc", "--reason", "we move")
    assert (opened.returncode, opened.stderr) == (0, "")
    eventually(lambda: all("forced_open" in worker.logs() for worker in workers), "both should know", timeout=5)
    for number in range(2):
        guarded.once.apply_async((service.folder, number), queue=f"q{number}")
    seen = breaker_in(workers[0].app, "svc")
    eventually(lambda: seen.parked() == 2, lambda: f"parked: {seen.parked()}", timeout=20)
    shown = breaker("status", "svc")
    assert shown.returncode == 3
    assert "we move" in shown.stdout
    [listed] = [one for one in json.loads(breaker("list", "--json").stdout) if one["name"] == "svc"]
    assert (listed["mode"], listed["parked"]) == ("forced_open", 2)
    assert breaker("close", "svc").returncode == 0
    eventually(lambda: sorted(service.served()) == [0, 1], "both should have run", timeout=20)
    assert breaker("status", "svc").returncode == 0


def test_where_no_worker_runs_nothing_can_be_seen_or_steered(
    worker_factory: WorkerFactory, celery_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    settings = worker_factory.settings(broker="redis", backend=None, conf=conf())
    done = celery_command("breaker", "open", "svc", conf=settings)
    assert done.returncode == 4
    assert "no worker answered" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("broker", "pool"), [("redis", "prefork"), ("rabbitmq", "prefork"), ("redis", "gevent")])
def test_an_outage_is_ridden_out_with_each_task_run_once(
    worker_factory: WorkerFactory, service: Service, broker: str, pool: str
) -> None:
    policy = {**QUICK, "max_failures": 5}
    settings = conf(breakers={"svc": policy})
    workers = fleet(worker_factory, 4, broker=broker, pool=pool, concurrency=2, conf=settings)
    tasks = 200
    for number in range(20):
        guarded.call.delay(service.folder, number)
    eventually(lambda: len(service.served()) == 20, "the first should run", timeout=30)
    service.go_down()
    for number in range(20, tasks):
        guarded.call.delay(service.folder, number)
    seen = breaker_in(workers[0].app, "svc")
    eventually(lambda: seen.parked() > 100, lambda: f"parked: {seen.parked()}", timeout=30)
    shut = time.time() + 1.0
    eventually(lambda: service.refused()[-1].at > shut + 4, "probes should go on", timeout=30)
    service.come_back()
    eventually(lambda: len(service.served()) >= tasks, lambda: f"served: {len(service.served())}", timeout=60)
    assert Counter(service.served()) == Counter(range(tasks)), "each ran once, none was lost"
    eventually(lambda: seen.state == "closed" and seen.parked() == 0, "all should be over", timeout=20)
    probes = [call.at for call in service.refused() if call.at > shut]
    close = [round(later - earlier, 3) for earlier, later in itertools.pairwise(probes) if later - earlier < 0.5]
    assert len(close) <= len(probes) / 4, f"about one call in each open interval, but {close} of {len(probes)}"


@pytest.mark.parametrize("broker", BROKERS)
def test_breakers_inside_tasks_are_peers_too(worker_factory: WorkerFactory, service: Service, broker: str) -> None:
    settings = conf(breakers={"inner": {**QUICK, "recovery_timeout": 2}}, breaker_refresh_interval=1.0)
    workers = fleet(worker_factory, 2, broker=broker, pool="prefork", backend="redis", conf=settings)
    send = guarded.inner.apply_async
    seen = breaker_in(workers[0].app, "inner")
    for number in range(2):
        assert send((service.folder, number), queue=f"q{number}").get(timeout=20) == "up"
    service.go_down()
    eventually(lambda: send((service.folder, 2), queue="q0").get(timeout=20) == "open", "it should trip", timeout=20)
    assert seen.state in ("open", "half_open")
    calls = len(service.calls())
    eventually(lambda: send((service.folder, 3), queue="q1").get(timeout=20) == "open", "all should know", timeout=20)
    assert len(service.calls()) <= calls + 1, "the other worker's process has learned it without a failure of its own"
    service.come_back()
    eventually(lambda: send((service.folder, 4), queue="q1").get(timeout=20) == "up", "it should recover", timeout=20)
    eventually(lambda: seen.state == "closed", "everybody should know", timeout=20)


def test_two_apps_in_one_process_hear_each_other_through_its_memory(
    make_app: Callable[[Mapping[str, Any]], Celery],
) -> None:
    settings = conf(broker_url="memory://", breakers={"svc": SLOW})
    one, other = make_app(settings), make_app(settings)
    bus = breakers_of(one).bus
    assert isinstance(bus, BusPeers)
    bus.listen()  # as a worker does
    cell = breakers_of(one).registry.cell("svc")
    breakers_of(one).registry.refresh(["svc"])
    breaker_in(other, "svc").breaker.open(reason="we move")
    breakers_of(one).registry.reporter.start()
    eventually(lambda: str(cell.record.mode) == "forced_open", "it should have heard", timeout=5)
    assert cell.record.state is State.CLOSED


def test_where_messages_cannot_reach_all_each_worker_is_left_to_itself_and_says_so(
    make_app: Callable[[Mapping[str, Any]], Celery],
) -> None:
    derived = breakers_of(make_app(conf(broker_url="memory://", breaker_bus=False))).derived
    assert not derived.shared
    assert "breaker_bus is off" in derived.why
