"""A store's server that dies: its worker goes on with breakers of its own, and rejoins. On Redis: tests/chaos."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable

import pytest

from tests.chaos.held import QUIET
from tests.integration import guarded
from tests.support.breakers import QUICK, REJOIN, breaker_in, logged
from tests.support.servers_mariadb import MariaDBServer
from tests.support.servers_memcached import MemcachedServer
from tests.support.servers_postgres import PostgresServer
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory

AWAY, BACK = "store is out of reach", "store is back"

Server = PostgresServer | MariaDBServer | MemcachedServer


@pytest.fixture(params=["postgres", "mariadb", "memcached"])
def server(request: pytest.FixtureRequest) -> Server:
    made: Server = request.getfixturevalue(f"make_{request.param}")()
    return made


def send(service: Service, numbers: Iterable[int]) -> None:
    for number in numbers:
        guarded.once.delay(service.folder, number)


def test_a_worker_goes_on_alone_while_its_store_s_server_is_dead_and_rejoins_when_it_is_back(
    worker_factory: WorkerFactory, service: Service, server: Server
) -> None:
    conf = {
        "imports": ["tests.integration.guarded"],
        "breakers": {"svc": {**QUICK, "recovery_timeout": 60}},
        "breaker_store": server.url,
        "breaker_store_prefix": f"test-{uuid.uuid4().hex[:8]}",
    }
    worker = worker_factory(broker="redis", backend=None, pool="threads", args=QUIET, conf=conf)
    seen = breaker_in(worker.app, "svc")
    send(service, range(20))
    eventually(lambda: len(service.served()) == 20, "tasks should run")
    assert AWAY not in worker.logs()

    server.kill()
    send(service, range(20, 120))
    eventually(lambda: len(service.served()) == 120, "they should go on, at no second each", timeout=20)
    logged(worker, AWAY, 1)
    service.go_down()
    send(service, range(200, 203))
    logged(worker, "breaker 'svc' opened", 1)
    calls = len(service.calls())
    send(service, range(210, 220))
    eventually(lambda: seen.parked() == 10, lambda: f"{seen.parked()} are parked", timeout=20)
    assert len(service.calls()) == calls
    assert (worker.logs().count(AWAY), worker.logs().count(BACK)) == (1, 0)

    service.come_back()
    server.start()
    logged(worker, BACK, 1, timeout=REJOIN)
    eventually(lambda: len(service.served()) == 130, "what it parked should come back", timeout=20)
    assert Counter(service.served()) == Counter([*range(120), *range(210, 220)]), "each once"
    service.go_down()
    send(service, range(300, 303))
    eventually(lambda: seen.state == "open", "whoever asks the store should know that it tripped", timeout=20)
    assert (worker.logs().count(AWAY), worker.logs().count(BACK)) == (1, 1)
