"""The harness itself, with plain Celery: were these to fail, no other failure in this folder would mean much."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pytest_celery import CeleryTestSetup

from tests.integration.tasks import add, pause, record, whoami
from tests.support.waiting import eventually
from tests.support.workers import Audit, WorkerFactory


@pytest.mark.fleet(workers=2, concurrency=1)
def test_every_worker_of_a_fleet_is_ready_and_takes_tasks(celery_setup: CeleryTestSetup, audit: Audit) -> None:
    assert celery_setup.ready(ping=False, control=True)
    assert len(celery_setup.worker_cluster) == 2
    assert add.delay(2, 3).get(timeout=20) == 5
    for number in range(20):
        record.delay(audit.path, number)
    assert sorted(audit.wait_for(20), key=int) == [str(number) for number in range(20)]
    celery_setup.worker.assert_log_exists("tests.record", timeout=10)


@pytest.mark.fleet(brokers=["redis"])
def test_a_node_can_be_killed_and_restarted(celery_setup: CeleryTestSetup) -> None:
    worker = celery_setup.worker
    before = worker.container.pid
    assert whoami.delay().get(timeout=20) != os.getpid()
    worker.kill()
    assert worker.container.status == "exited"
    worker.restart()
    assert worker.container.pid != before
    assert add.delay(1, 1).get(timeout=20) == 2


@pytest.mark.fleet(brokers=["redis"], workers=1, backend=None)
def test_a_broker_can_be_restarted(celery_setup: CeleryTestSetup, audit: Audit) -> None:
    celery_setup.broker.restart()
    eventually(lambda: celery_setup.app.control.ping(timeout=0.5), "the worker should be back", timeout=30)
    record.delay(audit.path, "after")
    assert audit.wait_for(1) == ["after"]


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent", "solo"])
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_worker_of_any_pool_takes_tasks_and_stops_in_order(
    worker_factory: WorkerFactory, broker: str, pool: str
) -> None:
    worker = worker_factory(broker=broker, pool=pool, concurrency=2, queues=["fast", "slow"])
    assert worker.app.current_task is None
    assert add.apply_async((2, 3), queue="slow").get(timeout=20) == 5
    worker.wait_for_log(r"tests\.add\[[^]]+\] succeeded")
    assert worker.stop() == 0


def test_the_filesystem_as_broker(worker_factory: WorkerFactory, audit: Audit) -> None:
    worker = worker_factory(broker="filesystem", backend=None, pool="solo")
    assert worker.app.conf.broker_url == "filesystem://"
    record.delay(audit.path, "here")
    assert audit.wait_for(1) == ["here"]


def test_a_kill_leaves_no_process(worker_factory: WorkerFactory, audit: Audit) -> None:
    worker = worker_factory(concurrency=2)
    children = eventually(worker.pool_pids, "the pool should have started")
    assert worker.app
    pause.delay(audit.path, 60, "x")
    audit.wait_for(1)
    worker.kill()
    eventually(lambda: not any(_runs(pid) for pid in children), "the pool should be gone")


def test_a_worker_that_cannot_start_shows_its_log(worker_factory: WorkerFactory) -> None:
    with pytest.raises(RuntimeError, match="no_such_module"):
        worker_factory(conf={"imports": ["no_such_module"]})


def test_a_command_runs_to_its_end(celery_command: Any, worker_factory: WorkerFactory) -> None:
    done = celery_command("report", conf=worker_factory.settings())
    assert done.returncode == 0
    assert "software ->" in done.stdout


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
