"""Amazon's SQS: no remote control and no fanout, so workers see a trip within the refresh interval."""

from __future__ import annotations

import time
from typing import Any

from tests.integration import guarded
from tests.support.breakers import QUICK, breaker_in, conf, tripped
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory


def test_an_outage(worker_factory: WorkerFactory, service: Service, redis_server: Any) -> None:
    settings = conf(redis_server)
    workers = [worker_factory(broker="sqs", conf=settings, wait=False) for _ in range(2)]
    for worker in workers:
        worker.wait_ready()
    seen = breaker_in(workers[0].app, "svc")
    tripped(seen, service)
    results = [guarded.once.delay(service.folder, n) for n in range(20)]
    time.sleep(5)
    print("parked", seen.parked())
    service.come_back()
    eventually(lambda: len(service.served()) >= 20, lambda: f"{service.served()}", timeout=60)
    print(service.calls())
    for w in workers: print(w.tail(40))
    sqs = worker_factory.brokers["sqs"].server
    print(sqs.queues())
    assert sorted(service.served()) == list(range(20))
    assert 0
