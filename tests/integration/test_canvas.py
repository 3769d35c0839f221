"""Canvas over an outage: a parked part holds its chord, chain, group or link up, and never breaks it."""

from __future__ import annotations

from typing import Any

import pytest
from celery import chain, chord, group

from tests.integration import guarded
from tests.support.breakers import QUICK, breaker_in, conf, tripped
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Worker, WorkerFactory


@pytest.fixture(params=["redis", "rabbitmq"])
def worker(request: pytest.FixtureRequest, worker_factory: WorkerFactory, redis_server: Any) -> Worker:
    return worker_factory(
        broker=request.param, concurrency=2, conf=conf(redis_server, breakers={"svc": {**QUICK, "recovery_timeout": 2}})
    )


def test_chord_chain_group_and_link_complete_once_the_breaker_closes(worker: Worker, service: Service) -> None:
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    folder = service.folder
    in_chord = chord([guarded.once.s(folder, number) for number in (1, 2, 3)])(guarded.total.s())
    in_chain = chain(guarded.once.si(folder, 4), guarded.once.si(folder, 5), guarded.total.si([4, 5])).delay()
    in_group = group(guarded.once.s(folder, number) for number in (6, 7)).delay()
    linked = guarded.once.apply_async((folder, 8), link=guarded.once.si(folder, 9))
    eventually(lambda: seen.parked() >= 7, lambda: f"parked: {seen.parked()}", timeout=20)
    service.come_back()
    assert in_chord.get(timeout=30) == 6
    assert in_chain.get(timeout=30) == 9
    assert in_group.get(timeout=30) == [6, 7]
    assert linked.get(timeout=30) == 8
    eventually(lambda: sorted(service.served()) == list(range(1, 10)), "each task should have run once", timeout=20)


def test_a_failed_chord_header_calls_the_errback_when_deferral_is_given_up(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    worker = worker_factory(conf=conf(redis_server, breakers={"svc": {**QUICK, "on_open": "fail"}}))
    tripped(breaker_in(worker.app, "svc"), service)
    body = guarded.total.s().on_error(guarded.on_error.s(service.folder))
    result = chord([guarded.once.s(service.folder, 1), guarded.total.s([2])])(body)
    eventually(lambda: service.noted("errbacks"), "the chord's errback should have been called", timeout=20)
    eventually(lambda: result.state == "FAILURE", "the failure is stored after the errback", timeout=20)
