"""One worker of three is broken: it stops taking the task, and the fleet does not."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.integration.gpu import render
from tests.support.breakers import breaker_in, conf
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Worker, WorkerFactory

BROKERS = pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
TASKS = 60


class Crew:
    """Three workers with a GPU each, of which the first is broken."""

    def __init__(self, factory: WorkerFactory, service: Service, redis: Any, broker: str, **here: Any) -> None:
        breakers = {
            "gpu": {"max_failures": 5, "failure_rate": 0, "min_workers": 2, "on_open": "pause"},
            "gpu-here": {"max_failures": 3, "failure_rate": 0, "scope": "worker", "jitter": 0, **here},
        }
        own = conf(redis, breakers=breakers, task_routes={"gpu.render": {"queue": "gpu"}})
        own["imports"] = [*own["imports"], "tests.integration.gpu"]
        self.folder = service.folder
        self.workers: list[Worker] = [
            factory(broker=broker, queues=["gpu"], conf=own, wait=False, env={"GPU_BROKEN": "1"} if bad else {})
            for bad in (True, False, False)
        ]
        for worker in self.workers:
            worker.wait_ready()
        self.bad = self.workers[0]
        self.gpu = breaker_in(self.bad.app, "gpu")
        self._service = service

    def renders(self, how: str) -> list[tuple[int, str, float]]:
        """Number, worker and time of each call."""
        lines = self._service.noted("renders")
        return [(int(number), worker, float(at)) for number, worker, word, at in lines if word == how]

    def done(self) -> set[int]:
        return {number for number, _, _ in self.renders("fine")}

    def mend(self) -> None:
        Path(self.folder, "mended").touch()


@BROKERS
def test_the_bad_worker_fails_a_few_times_and_the_others_do_all_the_work(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, broker: str
) -> None:
    crew = Crew(worker_factory, service, redis_server, broker, on_open="pause", recovery_timeout=600)
    for number in range(TASKS):
        render.delay(crew.folder, number)
    eventually(lambda: crew.done() == set(range(TASKS)), "all should be done", timeout=60)
    assert crew.bad.hostname not in {worker for _, worker, _ in crew.renders("fine")}
    assert 3 <= len(crew.renders("broken")) <= 4, "one more may be under way as the third failure is counted"
    assert "queue 'gpu' is paused by breaker 'gpu-here'" in crew.bad.logs()
    assert crew.gpu.state == "closed"
    assert all("paused" not in worker.logs() for worker in crew.workers[1:])
    assert Counter(number for number, _, _ in crew.renders("fine")).most_common(1)[0][1] == 1


def test_the_bad_worker_tries_one_task_at_a_time_and_takes_part_again_once_it_is_mended(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    policy = {"recovery_timeout": 1.5, "backoff": "constant"}
    crew = Crew(worker_factory, service, redis_server, "redis", on_open="pause", **policy)
    for number in range(2000):
        render.delay(crew.folder, number)
    eventually(lambda: len(crew.renders("broken")) >= 6, "it should try again", timeout=40)
    tried = sorted(at for _, _, at in crew.renders("broken"))[4:]
    assert all(later - sooner > 1.4 for sooner, later in itertools.pairwise(tried))
    crew.mend()
    mine = crew.bad.hostname
    eventually(lambda: sum(worker == mine for _, worker, _ in crew.renders("fine")) > 5, "it should work", timeout=40)


@BROKERS
def test_what_a_bad_worker_parks_is_given_to_the_others_while_it_is_bad(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, broker: str
) -> None:
    crew = Crew(worker_factory, service, redis_server, broker, on_open="park", recovery_timeout=600)
    for number in range(TASKS):
        render.delay(crew.folder, number)
    eventually(lambda: crew.done() == set(range(TASKS)), "all should be done", timeout=90)
    assert len(crew.renders("broken")) <= 4
    here = breaker_in(crew.bad.app, "gpu-here")
    assert here.parked() == 0
    assert crew.gpu.state == "closed"
