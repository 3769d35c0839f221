"""Four worker processes and one breaker, on each store: it trips once for all, and recovers with one probe."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.held import becomes, end, fleet, record_of, send
from tests.support import django_stores
from tests.support.breakers import QUICK, Seen, breaker_in
from tests.support.servers import RedisServer
from tests.support.servers_mariadb import MariaDBServer
from tests.support.servers_memcached import MemcachedServer
from tests.support.servers_postgres import PostgresServer
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Worker, WorkerFactory

WORKERS, EACH, MOST = 4, 3, 8
"""Each worker's failures are too few for it alone."""

POLICY = {**QUICK, "max_failures": MOST, "recovery_timeout": 2.0, "probe_timeout": 60}
TRANSITION = re.compile(r"breaker 'svc' (opened|is \w+ \(was \w+\))")
"""What the winner of a transition logs, and nobody else."""


@dataclass(frozen=True)
class Place:
    """Where breakers are kept, as an app and as the processes of its workers must be told."""

    url: str
    env: dict[str, str] = field(default_factory=dict)


def in_django(entry: dict[str, Any], folder: Path) -> Place:
    """A migrated database under one alias, here and in a settings module for the workers."""
    alias = django_stores.migrate(entry)
    databases = {"default": entry, alias: entry}
    apps = ["celery_breaker.django"]
    (folder / "settings_of_workers.py").write_text(
        f"SECRET_KEY = 'of a test'\nUSE_TZ = True\nINSTALLED_APPS = {apps!r}\nDATABASES = {databases!r}\n"
    )
    return Place(f"django-db://{alias}", {"DJANGO_SETTINGS_MODULE": "settings_of_workers"})


@pytest.fixture(params=["redis", "postgresql", "mariadb", "sqlite", "django", "memcached"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Place(f"sqlite:///{tmp_path / 'breakers.sqlite'}")
    if request.param == "redis":
        redis: RedisServer = request.getfixturevalue("redis_server")
        return Place(redis.url_for(2))
    if request.param == "mariadb":
        mariadb: MariaDBServer = request.getfixturevalue("mariadb_server")
        return Place(mariadb.url)
    if request.param == "memcached":
        memcached: MemcachedServer = request.getfixturevalue("memcached_server")
        return Place(memcached.url)
    postgres: PostgresServer = request.getfixturevalue("postgres_server")
    return in_django(postgres.django, tmp_path) if request.param == "django" else Place(postgres.url)


def four(worker_factory: WorkerFactory, place: Place, **more: Any) -> list[Worker]:
    conf = {
        "imports": ["tests.integration.guarded"],
        "breakers": {"svc": POLICY},
        "breaker_store": place.url,
        "breaker_store_prefix": f"test-{uuid.uuid4().hex[:8]}",
        **more,
    }
    return fleet(worker_factory, WORKERS, broker="redis", concurrency=EACH, conf=conf, env=place.env)


def begun(service: Service) -> list[int]:
    """The number of each call that reached the service."""
    return [int(number) for number, _ in service.noted("began")]


def fail(service: Service, numbers: Mapping[int, int]) -> None:
    """Calls that fail at the same time: of these numbers, each sent to the worker that it is given."""
    before = len(begun(service))
    for number, worker in numbers.items():
        send(service, number, queue=f"q{worker}")
    eventually(lambda: len(begun(service)) == before + len(numbers), lambda: f"{len(begun(service))} began", timeout=20)
    for number in numbers:
        end(service, number, "failure")


def transitions(workers: Iterable[Worker]) -> list[str]:
    """What each of them won, in any order."""
    return [found[1] for worker in workers for found in TRANSITION.finditer(worker.logs())]


def rides_out(workers: list[Worker], service: Service, seen: Seen) -> None:
    """From the trip on: all are shut, one probe at a time is let through, and each parked task runs once."""
    eventually(lambda: record_of(seen).generation, "it should trip", timeout=20)
    for worker in workers:
        worker.wait_for_log(r"breaker 'svc' (opened|is (half_)?open)")
    failed = len(begun(service))
    waiting = {*range(100, 112)}
    for number in waiting:
        send(service, number, queue=f"q{number % WORKERS}")

    def out() -> list[int]:
        return begun(service)[failed:]

    eventually(lambda: seen.parked() + len(out()) == len(waiting), lambda: f"{seen.parked()} are parked", timeout=20)
    assert len(out()) <= 1, "the probe, should it be time for it"

    [probe] = eventually(out, "a probe should be let through", timeout=20)
    for number in range(WORKERS):
        send(service, 200 + number, queue=f"q{number}")
        waiting.add(200 + number)
    eventually(lambda: seen.parked() == len(waiting) - 1, lambda: f"{seen.parked()} are parked", timeout=20)
    assert out() == [probe], "whoever comes while it is out is turned away, whichever the worker"

    for number in waiting:
        end(service, number, "success")
    closed = becomes(seen, "closed")
    eventually(lambda: len(out()) >= len(waiting), lambda: f"{len(out())} ran", timeout=20)
    eventually(lambda: seen.parked() == 0, "nothing should be left")
    assert Counter(out()) == Counter(waiting), "each ran once"
    assert closed.generation == 3
    won = ["is closed (was half_open)", "is half_open (was open)", "opened"]
    eventually(lambda: sorted(transitions(workers)) == won, lambda: f"one winner of each, but {transitions(workers)}")
    for worker in workers:
        assert "store is out of reach" not in worker.logs()


def test_failures_spread_over_four_workers_trip_once_for_all(
    worker_factory: WorkerFactory, service: Service, shared: Place
) -> None:
    workers = four(worker_factory, shared, breaker_store_timeout=5.0)  # a busy machine is no outage
    fail(service, {number: number % WORKERS for number in range(WORKERS * EACH)})
    rides_out(workers, service, breaker_in(workers[0].app, "svc"))


def test_without_a_database_one_worker_s_failures_trip_once_for_all(
    worker_factory: WorkerFactory, service: Service
) -> None:
    workers = four(worker_factory, Place("message://"))
    seen = breaker_in(workers[0].app, "svc")
    fail(service, {number: number % WORKERS for number in range(WORKERS * EACH)})
    fail(service, {20: 0, 21: 0, 22: 0})
    fail(service, {30: 0})
    assert seen.state == "closed", "each counts for itself, and 7 are too few"
    fail(service, {40: 0})
    rides_out(workers, service, seen)
