"""Answers that come late, or never: an outcome moves the state only in the generation that admitted its call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from celery_breaker.core.record import Record
from tests.chaos.held import ONE_FAILURE, becomes, counted, end, pair, record_of, send, started
from tests.support.breakers import Seen, breaker_in, conf
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Worker, WorkerFactory

pytestmark = pytest.mark.alone

LEASE = 3.0


@dataclass
class Scene:
    """Two workers with a breaker that the first failure trips, and a service that answers when the test says so."""

    workers: dict[str, Worker]
    service: Service
    seen: Seen
    broker: Any

    def admitted(self, number: int, *, queue: str) -> None:
        send(self.service, number, queue=queue)
        started(self.service, number)

    def answer(self, number: int, verdict: str, *, queue: str) -> None:
        """Let a task end, and wait until its worker has dealt with that."""
        end(self.service, number, verdict)
        counted(self.workers[queue], self.service, number, queue=queue, broker=self.broker)

    def trip(self, number: int, *, queue: str) -> Record:
        self.admitted(number, queue=queue)
        end(self.service, number, "failure")
        return becomes(self.seen, "open")

    def probe(self, number: int, *, queue: str) -> Record:
        """Have this task be the probe of the open breaker, and leave it unanswered."""
        self.admitted(number, queue=queue)
        return becomes(self.seen, "half_open")


@pytest.fixture
def scene(worker_factory: WorkerFactory, service: Service, redis_server: Any) -> Scene:
    breakers = {"svc": {**ONE_FAILURE, "probe_timeout": LEASE}, "host:{host}": {}}
    settings = conf(redis_server, breakers=breakers, breaker_refresh_interval=0.2, task_acks_late=True)
    one, two = pair(worker_factory, settings)
    return Scene({"one": one, "two": two}, service, breaker_in(one.app, "svc"), redis_server)


def test_a_late_success_from_before_the_trip_does_not_close(scene: Scene) -> None:
    scene.admitted(1, queue="one")
    scene.admitted(2, queue="two")
    opened = scene.trip(3, queue="two")
    scene.answer(1, "success", queue="one")
    assert record_of(scene.seen).generation in (opened.generation, opened.generation + 1), "open, or due by now"
    probing = scene.probe(4, queue="one")
    scene.answer(2, "success", queue="two")
    assert record_of(scene.seen) == probing
    end(scene.service, 4, "success")
    assert becomes(scene.seen, "closed").generation == probing.generation + 1


def test_a_late_failure_neither_reopens_nor_keeps_open(scene: Scene) -> None:
    for number, queue in ((1, "one"), (2, "two"), (3, "one")):
        scene.admitted(number, queue=queue)
    opened = scene.trip(4, queue="two")
    scene.answer(1, "failure", queue="one")
    assert record_of(scene.seen).trips == opened.trips
    probing = scene.probe(5, queue="two")
    scene.answer(2, "failure", queue="two")
    assert record_of(scene.seen) == probing
    end(scene.service, 5, "success")
    closed = becomes(scene.seen, "closed")
    scene.answer(3, "failure", queue="one")
    assert (record_of(scene.seen).state, record_of(scene.seen).generation) == ("closed", closed.generation)
    scene.trip(6, queue="one")


def test_a_hung_probe_does_not_stick(scene: Scene) -> None:
    scene.trip(1, queue="one")
    first = scene.probe(2, queue="one")
    began = started(scene.service, 2)
    send(scene.service, 3, queue="two")
    waited = started(scene.service, 3) - began
    assert waited > LEASE * 0.9, "not before the lease of the first has run out"
    assert waited < LEASE + 2.0, f"the second probe began {waited:.1f} s after the first"
    assert record_of(scene.seen) == first
    end(scene.service, 3, "failure")
    eventually(lambda: record_of(scene.seen).generation > first.generation, "the second probe should count")
    again = scene.probe(4, queue="two")
    assert again.trips == 2
    scene.answer(2, "success", queue="one")
    assert record_of(scene.seen) == again, "the first one's answer is of an older generation"
    end(scene.service, 4, "success")
    becomes(scene.seen, "closed")
