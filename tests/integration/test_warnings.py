"""A worker to which every warning is an error, as some run their tests: it guards, parks and releases all the same."""

from __future__ import annotations

from typing import Any

from tests.integration import guarded
from tests.support.breakers import breaker_in, conf, values
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory

ERRORS = "error,ignore:::celery.platforms,ignore:::celery.backends.redis"
"""All but Celery's word about who runs a worker as root, and what its results backend is told by redis-py."""


def test_an_outage_passes_where_warnings_are_errors(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    worker = worker_factory(broker="redis", conf=conf(redis_server), env={"PYTHONWARNINGS": ERRORS})
    breaker = breaker_in(worker.app, "svc")
    guarded.call.delay(service.folder, 0).get(timeout=30)
    service.go_down()
    results = [guarded.call.delay(service.folder, number) for number in range(1, 21)]
    eventually(lambda: breaker.parked() >= 10, lambda: f"parked: {breaker.parked()}", timeout=30)
    service.come_back()
    assert sorted(values(results, timeout=60)) == list(range(1, 21))
    assert worker.stop() == 0
    assert "Warning: " not in worker.logs()
