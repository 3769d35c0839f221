"""Workers without a database whose bus is parted: each side goes on, and soon after its end all agree."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.chaos.apart import BUS_URL, Proxy
from tests.chaos.chance import Chance
from tests.chaos.held import QUIET
from tests.integration import guarded
from tests.support.breakers import QUICK, breaker_in
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Worker, WorkerFactory

pytestmark = pytest.mark.alone

AGREE = 1.0
"""Seconds from the end of a partition."""

SAYS_OPEN = "breaker 'svc' is open, says the store"
LONGEST = 4.0
SETTINGS = {
    "imports": ["tests.integration.tasks", "tests.integration.guarded"],
    "breakers": {"svc": {**QUICK, "recovery_timeout": 600}, "host:{host}": {"recovery_timeout": 600}},
    "breaker_store": "message://",
    "breaker_refresh_interval": 600.0,
}


@pytest.fixture
def make_proxy() -> Iterator[Callable[[int], Proxy]]:
    proxies: list[Proxy] = []

    def make(port: int) -> Proxy:
        proxies.append(Proxy(port))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.stop()


def knew_at(worker: Worker, line: str) -> float:
    """When a worker first logged this; 0 if it has not."""
    found = re.search(rf"^\[([-0-9: ,]+): .*{re.escape(line)}", worker.logs(), re.MULTILINE)
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").timestamp() if found else 0.0  # noqa: DTZ007  as logged


@pytest.mark.parametrize("ends", ["hang", "refuse"])
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_both_sides_go_on_and_agree_within_a_second_of_healing(
    worker_factory: WorkerFactory,
    service: Service,
    make_proxy: Callable[[int], Proxy],
    chance: Chance,
    broker: str,
    ends: str,
) -> None:
    settings: dict[str, Any] = worker_factory.settings(broker=broker, backend=None, conf=SETTINGS)
    server = worker_factory.brokers[broker].server
    assert server is not None
    proxy = make_proxy(server.port)
    options: dict[str, Any] = {"broker": broker, "backend": None, "pool": "threads", "args": QUIET, "wait": False}
    options |= {"conf": SETTINGS, "app": "tests.chaos.apart:app"}
    here = [worker_factory(queues=["here", f"here-{number}"], **options) for number in range(2)]
    env = {BUS_URL: proxy.url(settings["broker_url"])}
    there = worker_factory(queues=["there"], env=env, **options)
    for worker in [*here, there]:
        worker.wait_ready()
    seen = breaker_in(here[0].app, "svc")
    seen.breaker.disable()
    eventually(lambda: "breaker 'svc' is closed, disabled" in there.logs(), "the proxy should forward")
    seen.breaker.auto()
    eventually(lambda: there.logs().count("breaker 'svc' is closed") == 2, "and go on to do so")

    getattr(proxy, ends)()
    service.go_down()
    for number in range(3):
        guarded.once.apply_async((service.folder, number), queue="here-0")
    for _ in range(2):
        guarded.per_host.apply_async(("far", service.folder), queue="there")
    eventually(lambda: SAYS_OPEN in here[1].logs(), "this side should agree", timeout=20)
    eventually(lambda: "breaker 'host:far' opened" in there.logs(), "that side should trip by itself", timeout=20)
    apart = time.monotonic() + chance.random.uniform(0, LONGEST)
    eventually(lambda: time.monotonic() > apart)
    service.come_back()
    guarded.once.apply_async((service.folder, 10), queue="there")
    eventually(lambda: service.served() == [10], "that side should go on as it sees fit", timeout=20)
    assert SAYS_OPEN not in there.logs()

    healed = time.time()
    proxy.heal()
    guarded.per_host.apply_async(("far", service.folder), queue="here-1")
    took = eventually(lambda: knew_at(there, SAYS_OPEN), "it should learn of it", timeout=20) - healed
    print(f"{broker}, {ends}: {took:.2f} s")  # noqa: T201
    assert took < AGREE
    far = breaker_in(here[0].app, "host:far")
    eventually(lambda: far.state == "open", "this side should learn of the other's", timeout=20)
    guarded.once.apply_async((service.folder, 11), queue="there")
    eventually(lambda: seen.parked() == 1, "what comes now is parked on that side too", timeout=20)
    assert "11" not in {call.words[0] for call in service.calls()}
