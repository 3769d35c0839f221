"""Brokers without a server: the file system, and the memory of one process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker

from celery_breaker.plugin import signals
from tests.integration import guarded
from tests.support.breakers import QUICK, breaker_in, conf, tripped
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory

BY_HAND = {**QUICK, "recovery_timeout": 60}


def test_over_the_filesystem_tasks_are_parked_and_come_back(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    worker = worker_factory(broker="filesystem", pool="solo", conf=conf(redis_server, breakers={"svc": BY_HAND}))
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    result = guarded.once.delay(service.folder, 1)
    eventually(lambda: result.state == "DEFERRED", "it should be parked", timeout=30)
    service.come_back()
    seen.breaker.close()
    assert result.get(timeout=30) == 1


@pytest.fixture
def logging_kept() -> Iterator[None]:
    """A worker in this process sets up logging for all of it."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.mark.usefixtures("logging_kept")
def test_memory_within_one_process(make_app: Callable[[Mapping[str, Any]], Celery], service: Service) -> None:
    app = make_app(
        {
            "broker_url": "memory://",
            "result_backend": "cache+memory://",
            "imports": ["tests.integration.guarded"],
            "breakers": {"svc": BY_HAND},
            "breaker_store": "memory://",
            "breaker_tend_interval": 0.5,
        }
    )
    heard: list[str] = []
    with _listening(heard), start_worker(app, pool="solo", perform_ping_check=False):
        seen = breaker_in(app, "svc")
        tripped(seen, service)
        result = guarded.once.delay(service.folder, 1)
        eventually(lambda: seen.parked() == 1, "it should be parked", timeout=30)
        service.come_back()
        seen.breaker.close()
        eventually(lambda: service.served() == [1], "it should have run once", timeout=30)
        assert result.get(timeout=10) == 1
    assert heard == ["breaker_opened", "task_deferred", "breaker_closed", "task_released"]


@contextmanager
def _listening(heard: list[str]) -> Iterator[None]:
    """Note the name of each signal of ours that is sent."""
    every = (
        signals.breaker_opened,
        signals.breaker_half_opened,
        signals.breaker_closed,
        signals.task_deferred,
        signals.task_released,
    )

    def receiver(signal: Any = None, **_: Any) -> None:
        heard.append(signal.name)

    for signal in every:
        signal.connect(receiver, weak=False)
    try:
        yield
    finally:
        for signal in every:
            signal.disconnect(receiver)
