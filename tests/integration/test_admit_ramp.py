"""Fresh calls on the ramp, with real workers."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from typing import Any

import pytest

from tests.integration import guarded
from tests.support.breakers import QUICK, breaker_in, conf
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory

TASKS = 400


@pytest.mark.parametrize("on_ramp", [True, False])
def test_a_service_that_is_back_is_not_met_by_all_fresh_calls_at_once(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, on_ramp: bool
) -> None:
    policy = {**QUICK, "ramp_start": 20, "admit_ramp": on_ramp}
    workers = [worker_factory(conf=conf(redis_server, breakers={"svc": policy}), pool="threads")]
    workers.append(worker_factory(conf=workers[0].conf, pool="threads"))
    seen = breaker_in(workers[0].app, "svc")
    seen.breaker.open(reason="maintenance")
    numbers = itertools.count()

    def parked() -> int:
        guarded.once.delay(service.folder, next(numbers))  # until both workers have heard
        return seen.parked()

    eventually(lambda: parked() >= 2, "tasks should be parked", timeout=20)
    before = len(service.calls())
    seen.breaker.auto()
    while (number := next(numbers)) < TASKS:
        guarded.once.delay(service.folder, number)
    eventually(lambda: len(service.calls()) >= TASKS, "all should run", timeout=60)
    assert Counter(service.served()) == Counter(range(TASKS)), "each once"
    calls = service.calls()[before:]
    begun = min(call.at for call in calls)
    first = sum(call.at - begun < 1.0 for call in calls)
    sys.stdout.write(f"calls in the first second: {first}; all in {max(call.at for call in calls) - begun:.1f} s\n")
    if on_ramp:
        assert first <= 100  # 20/s, doubled twice a second
