"""`Breaker` used inside a task: in forked pool processes, sharing its state with everyone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration import guarded
from tests.support.breakers import QUICK, breaker_in, conf
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_it_trips_for_every_pool_process_and_recovers(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, pool: str
) -> None:
    policy = {**QUICK, "recovery_timeout": 2}
    worker = worker_factory(pool=pool, concurrency=2, conf=conf(redis_server, breakers={"inner": policy}))
    seen = breaker_in(worker.app, "inner")
    assert guarded.inner.delay(service.folder, 0).get(timeout=20) == "up"
    service.go_down()
    eventually(lambda: guarded.inner.delay(service.folder, 1).get(timeout=20) == "open", "it should trip", timeout=20)
    assert seen.state in ("open", "half_open")
    service.come_back()
    eventually(lambda: guarded.inner.delay(service.folder, 2).get(timeout=20) == "up", "it should recover", timeout=20)
    eventually(lambda: seen.state == "closed", "everybody should know", timeout=20)
