"""A warm shutdown that meets a task on its way to a pool process."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration import stopping, tasks
from tests.support.breakers import QUICK, breaker_in, conf
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory

IMPORTS = ["tests.integration.tasks", "tests.integration.stopping"]
PROMPTLY = 20.0
"""Seconds; the process would wait for 30 to be heard."""


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
@pytest.mark.parametrize("name", ["early", "late", "fails"])
def test_what_was_just_handed_to_a_process_is_heard_to_its_end(
    name: str, broker: str, worker_factory: WorkerFactory, redis_server: Any, service: Service
) -> None:
    """Plain Celery (5.7) gives it back to the queue as well, and it runs again."""
    policy = {**QUICK, "max_failures": 100, "recovery_timeout": 0.1, "max_recovery_timeout": 0.1}
    breakers = {"svc": {**policy, "defer_failures": True}}
    settings = conf(redis_server, breakers=breakers, imports=IMPORTS, breaker_tend_interval=0.5)
    worker = worker_factory(broker=broker, conf=settings)
    worker.app.set_current()
    assert tasks.add.delay(1, 1).get(timeout=20) == 2
    inspect = worker.app.control.inspect([worker.hostname], limit=1)
    eventually(lambda: inspect.active() == {worker.hostname: []}, "its process is up and idle", timeout=20)
    result = getattr(stopping, name).delay(service.folder)
    worker.wait(PROMPTLY)
    assert len(service.noted("runs")) == 1, "it should have run as the worker stopped"
    assert breaker_in(worker.app, "svc").parked() == (name == "fails")
    worker.start()
    worker.wait_ready()
    result.get(timeout=20)
    assert tasks.add.delay(1, 1).get(timeout=20) == 2, "whatever stood before it in the queue has been taken"
    assert worker.stop() == 0
    assert len(service.noted("runs")) == 1 + (name == "fails")
