"""Half-open, fleet-wide: never more calls at once than there are permits, and a permit that is lost comes back."""

from __future__ import annotations

import multiprocessing
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from tests.chaos.chance import Chance
from tests.chaos.held import ONE_FAILURE, becomes, end, pair, send, started
from tests.chaos.probers import Plan, meet, set_up
from tests.integration import guarded
from tests.support.breakers import breaker_in, conf
from tests.support.servers import RedisServer
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Audit, WorkerFactory

pytestmark = pytest.mark.alone

PROCESSES = 8


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, mp_context=context, initializer=set_up, initargs=(gate,)) as pool:
        yield pool


@pytest.fixture
def run(
    processes: ProcessPoolExecutor, redis_server: RedisServer, audit: Audit, chance: Chance
) -> Callable[..., list[tuple[str, str, int]]]:
    """`run(rounds, permits=…, threshold=…)` → what was noted, in order: (begin or end, probe or call, generation)."""

    def run(rounds: list[bool], *, permits: int, threshold: int) -> list[tuple[str, str, int]]:
        plan = Plan(
            url=redis_server.url_for(3),
            prefix=f"test-{uuid.uuid4().hex[:8]}",
            path=audit.path,
            rounds=tuple(rounds),
            permits=permits,
            threshold=threshold,
            seed=chance.seed,
        )
        for future in [processes.submit(meet, plan, number) for number in range(PROCESSES)]:
            future.result(1200)
        words = [line.split() for line in audit.lines()]
        return [(what, admission, int(generation)) for what, admission, generation in words]

    return run


def most_at_once(noted: list[tuple[str, str, int]]) -> int:
    """The most probes that overlapped, of whatever generation."""
    inside = most = 0
    for what, admission, _ in noted:
        if admission == "probe":
            inside += 1 if what == "begin" else -1
            most = max(most, inside)
    assert inside == 0
    return most


@pytest.mark.parametrize("permits", [1, 3])
def test_eight_processes_at_a_dead_service_make_no_more_calls_than_there_are_permits(
    run: Callable[..., Any], chance: Chance, permits: int
) -> None:
    rounds = chance.rounds(short=8, long=200)
    noted = run([False] * rounds, permits=permits, threshold=1)
    assert most_at_once(noted) <= permits
    probes = Counter(generation for what, admission, generation in noted if (what, admission) == ("begin", "probe"))
    assert len(probes) >= rounds, "each round has its probe"
    assert max(probes.values()) <= permits, "once a probe has failed, nobody else tries in that interval"
    trips = [generation for what, admission, generation in noted if (what, admission) == ("begin", "call")]
    assert len(trips) == 1, f"and nobody calls without a permit, but calls came in generations {trips}"


@pytest.mark.parametrize("permits", [1, 3])
def test_eight_processes_close_a_breaker_through_its_permits(
    run: Callable[..., Any], chance: Chance, permits: int
) -> None:
    rounds = [chance.random.random() < 0.7 for _ in range(chance.rounds(short=8, long=200))]
    rounds[0] = True
    noted = run(rounds, permits=permits, threshold=2)
    assert most_at_once(noted) <= permits
    assert "call" in {admission for _, admission, _ in noted}, "it has closed"


@pytest.mark.parametrize(("traffic", "lease"), [("fresh", 2.0), ("parked", 4.0)])
def test_a_worker_killed_with_the_permit_delays_the_next_probe_by_no_more_than_the_lease(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, chance: Chance, traffic: str, lease: float
) -> None:
    policy = {**ONE_FAILURE, "probe_timeout": lease}
    # The lease of an agent that dies too is three intervals, so it is over before the permit's.
    one, two = pair(worker_factory, conf(redis_server, breakers={"svc": policy}, breaker_tend_interval=0.5))
    seen = breaker_in(one.app, "svc")
    victim, queue, other = chance.random.choice([(one, "one", "two"), (two, "two", "one")])
    send(service, 1, queue=queue)
    end(service, 1, "failure")
    becomes(seen, "open")
    send(service, 2, queue=queue)
    began = started(service, 2)
    if traffic == "parked":
        send(service, 3, queue=other)
        eventually(lambda: seen.parked() == 1, "there is no permit for it")
    killed = began + chance.random.uniform(0, lease / 2)
    eventually(lambda: time.monotonic() > killed)
    victim.kill()
    numbers = iter(range(4, 10_000))

    def probed() -> bool:
        if traffic == "fresh":
            guarded.held.apply_async((service.folder, next(numbers)), queue=other)
        return len(service.noted("began")) > 2

    eventually(probed, "another should probe", timeout=3 * lease, interval=0.1)
    waited = float(service.noted("began")[2][1]) - began
    assert lease * 0.95 < waited < lease + 1.0, f"the next probe began {waited:.2f} s after the first"
