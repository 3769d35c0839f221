"""Tasks whose end is in the test's hand, and workers to run them on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery_breaker.core.record import Record
from celery_breaker.plugin.app import breakers_of
from tests.integration import guarded
from tests.support.breakers import Seen
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Worker, WorkerFactory

if TYPE_CHECKING:
    from tests.support.servers import RedisServer

ONE_FAILURE = {
    "consecutive_failures": 1,
    "recovery_timeout": 1.0,
    "backoff": "constant",
    "jitter": 0,
    "ramp_start": 200,
}
"""The least that trips, so that a single answer counted where it should not be shows; and each answer is told."""

QUIET = ("--without-mingle", "--without-gossip")
"""Arguments of a worker that has no need to look for others: it starts a second sooner."""


def pair(worker_factory: WorkerFactory, conf: Mapping[str, Any], **options: Any) -> tuple[Worker, Worker]:
    """Two workers that share their breakers and nothing else: one takes the queue ``one``, the other ``two``."""
    options = {"conf": conf, "concurrency": 3, "args": QUIET, "wait": False, **options}
    workers = worker_factory(queues=["one"], **options), worker_factory(queues=["two"], **options)
    for worker in workers:
        worker.wait_ready()
    _ = workers[0].app  # the app of the test, from now on
    return workers


def fleet(worker_factory: WorkerFactory, size: int, **options: Any) -> list[Worker]:
    """Workers of a queue each (``q0``, ``q1``, …), and all of the queue ``celery``, that keep no results."""
    options = {"backend": None, "args": QUIET, "wait": False, "pool": "threads", **options}
    workers = [worker_factory(queues=["celery", f"q{number}"], **options) for number in range(size)]
    for worker in workers:
        worker.wait_ready()
    _ = workers[0].app  # the app of the test, from now on
    return workers


def send(service: Service, number: int, *, queue: str) -> None:
    """Send a held task to a queue."""
    guarded.held.apply_async((service.folder, number), queue=queue, task_id=_id(number))


def _id(number: int) -> str:
    return f"held-{number}"


def started(service: Service, number: int, *, timeout: float = 20.0) -> float:
    """Wait until a held task runs; the time (of the monotonic clock) at which it began."""

    def times() -> list[float]:
        return [float(at) for begun, at in service.noted("began") if int(begun) == number]

    return eventually(times, f"task {number} should begin", timeout=timeout)[0]


def end(service: Service, number: int, verdict: str) -> None:
    """Let a held task end, in ``success`` or ``failure``."""
    draft = Path(service.folder, f"draft-{number}")
    draft.write_text(verdict)
    draft.rename(Path(service.folder, f"end-{number}"))  # whole, or not there


def counted(worker: Worker, service: Service, number: int, *, queue: str, broker: RedisServer) -> None:
    """Wait until a worker has dealt with the outcome of a held task that was told to end. Needs ``task_acks_late``.

    A worker hands an outcome over before it acknowledges the message, and its reporter takes outcomes in turn: so one
    more outcome, of a breaker that nobody used before, tells that it is through.
    """
    with broker.client(0) as client:
        eventually(
            lambda: not any(f'"{_id(number)}"'.encode() in message for message in client.hvals("unacked")),
            f"task {number} should have ended",
        )
    marker = f"after-{number}"
    guarded.per_host.apply_async((marker, service.folder), queue=queue)
    registry = breakers_of(worker.app).registry
    cell = registry.cell(f"host:{marker}")
    eventually(lambda: registry.totals(cell).calls, f"the outcome {marker} should have been counted")


def record_of(seen: Seen) -> Record:
    """The record as the store has it now."""
    return seen.breaker._fresh()


def becomes(seen: Seen, state: str, *, timeout: float = 20.0) -> Record:
    """Wait until the breaker is in this state; its record then."""

    def reached() -> Record | None:
        record = record_of(seen)
        return record if record.state == state else None

    return eventually(reached, f"the breaker should be {state}", timeout=timeout)
