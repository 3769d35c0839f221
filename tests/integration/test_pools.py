"""One outage in every pool, on both brokers: parked, probed, released, nothing lost and nothing twice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration import guarded
from tests.support.breakers import breaker_in, conf, values
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent", "solo"])
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_an_outage_passes(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, broker: str, pool: str
) -> None:
    worker = worker_factory(broker=broker, pool=pool, concurrency=2, conf=conf(redis_server))
    breaker = breaker_in(worker.app, "svc")
    guarded.call.delay(service.folder, 0).get(timeout=20)
    service.go_down()
    results = [guarded.call.delay(service.folder, number) for number in range(1, 61)]
    eventually(lambda: breaker.parked() >= 50, lambda: f"parked: {breaker.parked()}", timeout=20)
    eventually(lambda: results[30].state == "DEFERRED", "a parked task's result should say so")
    service.come_back()
    assert sorted(values(results, timeout=60)) == list(range(1, 61))
    assert sorted(service.served()) == list(range(61))
    eventually(lambda: breaker.state == "closed", "the breaker should be closed")
    assert worker.stop() == 0
