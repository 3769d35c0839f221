"""Amazon's SQS: no remote control and no fanout, so workers see a trip within the refresh interval."""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

from tests.integration import guarded
from tests.support.breakers import QUICK, breaker_in, conf, logged, tripped
from tests.support.servers_sqs import SQSServer
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Broker, Worker, WorkerFactory

PARKED = "celery_breaker-parked-svc"
BY_HAND = {**QUICK, "recovery_timeout": 600}


def log_time(worker: Worker, text: str) -> float:
    """When the worker first logged this."""
    found = re.search(rf"^\[(\S+ \S+),(\d+): .*{re.escape(text)}", worker.logs(), re.MULTILINE)
    assert found, worker.tail()
    return datetime.fromisoformat(found[1]).timestamp() + int(found[2]) / 1000


def commands(redis: Any) -> int:
    """How often a worker has asked this Redis for something."""
    with redis.client() as client:
        stats = client.info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("eval", "evalsha", "mget", "get"))


def test_an_outage_is_seen_by_every_worker_and_costs_no_task(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, sqs_server: SQSServer
) -> None:
    settings = conf(redis_server)
    workers = [worker_factory(broker="sqs", conf=settings, wait=False) for _ in range(2)]
    for worker in workers:
        worker.wait_ready()
    seen = breaker_in(workers[0].app, "svc")
    tripped(seen, service)
    began = time.time()
    numbers = range(30)
    for number in numbers:
        guarded.once.delay(service.folder, number)
    eventually(
        lambda: seen.parked() + len(service.calls()) >= 30 and len(service.refused()) >= 6,
        lambda: f"{seen.parked()} are parked, {len(service.calls())} were tried",
        timeout=60,
    )
    down_for = time.time() - began
    service.come_back()
    eventually(
        lambda: len({call.words[0] for call in service.calls()} & {str(number) for number in numbers}) == 30,
        lambda: f"all 30 should have been tried once: {service.calls()}",
        timeout=60,
    )
    tries = Counter(int(call.words[0]) for call in service.calls())
    assert set(tries.values()) == {1}, "nothing runs twice"
    probes = [call for call in service.refused() if call.at > began]
    assert len(probes) <= down_for / 0.9 + 4, "about one for each open interval"
    opened = min(log_time(worker, "breaker 'svc' opened") for worker in workers if "'svc' opened" in worker.logs())
    for worker in workers:
        assert log_time(worker, "breaker 'svc' ") - opened < 10, "a second, and what a loaded machine adds"
        assert worker.logs().count("this transport has no fanout: transitions are seen at the next refresh") == 1
        assert "bus is down" not in worker.logs()
    assert {name for name in sqs_server.queues() if "parked" in name} == {PARKED}


def test_an_idle_worker_asks_for_nothing_but_its_tasks(
    worker_factory: WorkerFactory, redis_server: Any, sqs_server: SQSServer
) -> None:
    breakers = dict.fromkeys(("svc", "crm", "billing"), QUICK)
    sqs_server.record()
    worker = worker_factory(broker="sqs", conf=conf(redis_server, breakers=breakers))

    def asks_the_store_again(times: int) -> None:
        """The agent has its rounds, and the views theirs, each of a second and of at least one command."""
        before = commands(redis_server)
        eventually(
            lambda: commands(redis_server) >= before + times, "the worker should look into its store", timeout=60
        )

    asks_the_store_again(8)
    assert sqs_server.recorded()[("ListQueues", "celery_breaker-parked-")] == 1, "once an hour, for tasks left behind"
    sqs_server.record()
    asks_the_store_again(14)
    requests = sqs_server.recorded()
    assert requests.pop(("ReceiveMessage", "celery")) > 0
    assert not requests
    assert "WARNING" not in worker.logs()


def test_without_a_store_each_worker_is_on_its_own_and_says_so(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    settings = conf(redis_server)
    del settings["breaker_store"]
    worker = worker_factory(broker="sqs", backend=None, conf=settings, pool="solo")
    logged(worker, "each worker is left to itself: the sqs transport has no fanout; set breaker_store to share", 1)
    _ = worker.app
    service.go_down()
    for number in range(6):
        guarded.once.delay(service.folder, number)
    logged(worker, "breaker 'svc' opened", 1)
    service.come_back()
    eventually(lambda: len(service.calls()) == 6, lambda: str(service.calls()), timeout=60)
    assert Counter(call.words[0] for call in service.calls()).most_common(1)[0][1] == 1


def test_a_queue_that_was_paused_time_and_again_is_polled_as_often_as_before(
    worker_factory: WorkerFactory, redis_server: Any, sqs_server: SQSServer
) -> None:
    line = {**QUICK, "on_open": "pause", "tasks": ["guarded.plain"]}
    settings = conf(redis_server, breakers={"line": line}, task_routes={"guarded.plain": {"queue": "line"}})
    broker = Broker("sqs", sqs_server.conf(wait_time_seconds=4), sqs_server)
    worker = worker_factory(broker=broker, queues=["line"], conf=settings)
    seen = breaker_in(worker.app, "line")
    for turn in range(1, 6):
        seen.breaker.open()
        logged(worker, "queue 'line' is paused", turn)
        seen.breaker.close()
        logged(worker, "queue 'line' is consumed again", turn)
    sqs_server.record()
    time.sleep(12)
    assert 1 <= sqs_server.recorded()[("ReceiveMessage", "line")] <= 5


def test_tasks_of_a_fifo_queue_come_back_in_order(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, sqs_server: SQSServer
) -> None:
    settings = conf(redis_server, breakers={"svc": BY_HAND}, task_default_queue="orders.fifo")
    worker = worker_factory(broker="sqs", conf=settings, pool="solo")
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    for number in range(8):
        guarded.once.delay(service.folder, number)
    eventually(lambda: seen.parked() == 8, lambda: f"{seen.parked()} are parked", timeout=60)
    assert set(sqs_server.queues()) == {"orders.fifo", PARKED + ".fifo"}
    service.come_back()
    seen.breaker.close()
    eventually(lambda: len(service.served()) == 8, lambda: str(service.served()), timeout=60)
    assert service.served() == list(range(8))


def test_queues_that_are_not_listed_are_named_at_start_and_by_doctor(
    worker_factory: WorkerFactory,
    celery_command: Callable[..., subprocess.CompletedProcess[str]],
    redis_server: Any,
    sqs_server: SQSServer,
) -> None:
    sqs_server.reset()
    url = sqs_server.client().create_queue(QueueName="celery")["QueueUrl"]
    broker = Broker("sqs", sqs_server.conf(predefined_queues={"celery": {"url": url}}), sqs_server)
    settings = conf(redis_server, imports=["tests.integration.tasks"], breakers={"svc": {"tasks": ["tests.*"]}})
    worker = worker_factory(broker=broker, conf=settings, wait=False)
    eventually(lambda: not worker.running, "it should not start", timeout=60)
    says = "predefined_queues'] does not list celery_breaker-parked-svc, celery_breaker-quarantine"
    assert says in worker.logs()
    told = celery_command("breaker", "doctor", conf=worker.conf)
    assert (
        f"tasks cannot be parked in {PARKED}: predefined_queues does not list it -> make it, and list it in"
        in told.stdout
    )
    assert told.returncode == 1
    assert "the broker gives a message out again after 30 s" in told.stdout, "as the queue says, not the setting"


def test_what_the_command_line_can_and_cannot(
    worker_factory: WorkerFactory,
    celery_command: Callable[..., subprocess.CompletedProcess[str]],
    service: Service,
    redis_server: Any,
    sqs_server: SQSServer,
) -> None:
    worker = worker_factory(broker="sqs", conf=conf(redis_server, breakers={"svc": BY_HAND}), pool="solo")

    def command(*args: str) -> subprocess.CompletedProcess[str]:
        return celery_command("breaker", *args, conf=worker.conf)

    assert "cannot be asked on this broker" in command("doctor").stdout
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    for number in range(3):
        guarded.once.delay(service.folder, number)
    eventually(lambda: seen.parked() == 3, lambda: f"{seen.parked()} are parked", timeout=60)
    assert re.search(r"^ +parked +3$", command("status", "svc").stdout, re.MULTILINE)
    service.come_back()
    assert command("release", "svc", "--count", "1").stdout.startswith("svc: 1 task released")
    assert command("purge", "svc", "--yes").returncode == 0
    assert seen.parked() <= 1, "the one that was released meets an open breaker"
    assert set(sqs_server.queues()) == {"celery", PARKED}, "nothing is left behind"
