"""Forks beside a reporter that waits for a slow store; workers that stop, warm and cold, as they park and release."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from celery_breaker import Breaker, Policy
from celery_breaker.core.windows import Delta
from celery_breaker.engine.default import registry_at
from celery_breaker.stores.redis import RedisStore
from tests.chaos.audit import Ledger, audited_redis, judged, settled
from tests.chaos.audit_stop import ended
from tests.chaos.chance import Chance
from tests.integration import guarded
from tests.support.breakers import QUICK, Seen, breaker_in, conf
from tests.support.servers import RedisServer
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Broker, Worker, WorkerFactory

# --- forks ------------------------------------------------------------------------------------------------------------

CALLS = 4
"""Failed calls, and as many that succeed, in each child."""

AT_ONCE = 8


@contextmanager
def slowed(server: RedisServer) -> Iterator[None]:
    """Have Redis answer late, time and again, so that whoever asks it is waiting for most of the time."""
    done = threading.Event()

    def pause() -> None:
        with server.client() as client:
            while not done.is_set():
                client.client_pause(15)
                done.wait(0.02)

    thread = threading.Thread(target=pause)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def fail() -> None:
    raise OSError("as the test says")


def call(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.call(int)
        with pytest.raises(OSError, match="as the test says"):
            breaker.call(fail)


@contextmanager
def calling(breaker: Breaker) -> Iterator[Callable[[], int]]:
    """Go on calling from two threads; yields how many pairs of calls there have been."""
    done, made = threading.Event(), [0, 0]

    def go_on(which: int) -> None:
        while not done.is_set():
            call(breaker, 1)
            made[which] += 1
            done.wait(0.001)

    threads = [threading.Thread(target=go_on, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    try:
        yield lambda: sum(made)
    finally:
        done.set()
        for thread in threads:
            thread.join()


def forked(work: Callable[[], object]) -> int:
    """Run it in a forked child, which ends with status 0 if nothing was raised; the child's pid."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(status)
    return pid


def left(running: set[int]) -> int:
    """Take the children that have ended out of the set, each of them with success; how many go on."""
    for pid in list(running):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            running.discard(pid)
            if status:
                pytest.fail(f"a child ended with status {status}")
    return len(running)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_children_forked_from_a_busy_reporter_can_call_and_nothing_is_counted_twice(
    make_redis: Any, chance: Chance
) -> None:
    server = make_redis()
    policy = Policy(max_failures=10**9, failure_window=36_000)
    breaker = Breaker("forked", policy=policy, store=server.url)
    registry = registry_at(server.url)
    children = chance.rounds(short=60, long=1500)

    def in_child() -> None:
        call(breaker, CALLS)
        registry.close()
        assert registry.link.connected

    running: set[int] = set()
    try:
        with slowed(server), calling(breaker) as made:
            for _ in range(children):
                time.sleep(chance.random.uniform(0, 0.02))
                running.add(forked(in_child))
                eventually(lambda: left(running) < AT_ONCE, "children hang", timeout=30, interval=0.005)
            eventually(lambda: left(running) == 0, "children hang", timeout=30)
        pairs = made() + children * CALLS
        registry.close()
        assert registry.link.connected
        totals = RedisStore(server.url).tally("forked", Delta(), policy.window, generation=0, worker="nobody")
        assert (totals.failures, totals.calls) == (pairs, 2 * pairs)
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_a_pool_process_that_ends_after_its_task_has_been_heard_and_once(
    worker_factory: WorkerFactory, make_redis: Any, service: Service, chance: Chance
) -> None:
    """The worker forks for each task, while its reporter is busy; and each child has a word of its own to report."""
    store, concurrency, tasks = make_redis(), 2, chance.rounds(short=8, long=300)
    breakers = {"inner": {**QUICK, "recovery_timeout": 600}, "svc": {"max_failures": 10**6, "failure_window": 36_000}}
    breakers["inner"]["max_recovery_timeout"] = 600
    settings = conf(store, breakers=breakers, worker_max_tasks_per_child=1)
    worker = worker_factory(concurrency=concurrency, conf=settings)
    assert worker.app
    service.go_down()
    with slowed(store):
        inner = [guarded.inner.delay(service.folder, number) for number in range(tasks)]
        outer = [guarded.once.delay(service.folder, number) for number in range(tasks)]
        for result in outer:  # the first waits for all of the inner ones
            assert isinstance(result.get(timeout=60 + tasks, propagate=False), guarded.ServiceDown)
        said = Counter(result.get(timeout=60) for result in inner)
    assert worker.stop() == 0
    assert said["down"] < QUICK["max_failures"] + concurrency, f"a trip should have shut the others out: {said}"
    prefix, window = settings["breaker_store_prefix"], Policy(**breakers["svc"]).window
    with_store = RedisStore(store.url_for(2), prefix=prefix)
    assert with_store.tally("svc", Delta(), window, generation=0, worker="nobody").failures == tasks


# --- workers that stop ------------------------------------------------------------------------------------------------

CONCURRENCY, PREFETCH = 2, 4
IN_HAND = PREFETCH + 1
"""What the worker prefetches, and one that kombu had asked Redis for before."""

BURST = 150
STOPPING = {
    "breakers": {"svc": {**QUICK, "recovery_timeout": 0.5, "probe_timeout": 2.0, "ramp_start": 60}},
    "breaker_tend_interval": 0.5,
    "worker_prefetch_multiplier": PREFETCH // CONCURRENCY,
    "result_backend": None,
}


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest, make_broker: Any, make_redis: Any) -> Broker:
    if request.param == "rabbitmq":
        return make_broker("rabbitmq")
    return audited_redis(make_redis)


@dataclass
class Stop:
    """Stops a worker in the middle of things, and starts it again.

    Attributes:
        released: tasks of the rounds in which it released.
        hung: how often Celery hung, see `audit_stop`.
    """

    worker: Worker
    seen: Seen
    service: Service
    ledger: Ledger
    chance: Chance
    released: int = 0
    hung: int = 0

    def round(self, signum: int) -> None:
        """One outage, in which the worker gets this signal; either while it parks or while it releases."""
        self.service.go_down()
        self.ledger.send(3)
        eventually(lambda: self.seen.state == "open", "the breaker should trip", timeout=30)
        self.ledger.send(BURST)
        if self.chance.random.random() < 0.5:
            eventually(self.seen.parked, "parking should begin", timeout=30, interval=0.05)
            self._stop(signum)
            self.service.come_back()
        else:
            eventually(lambda: self.seen.parked() > BURST * 0.9, "they should be parked", timeout=30, interval=0.1)
            self.service.come_back()
            full = self.seen.parked()
            eventually(lambda: self.seen.parked() < full - 1, "release should begin", timeout=30, interval=0.1)
            self.released += BURST
            self._stop(signum)
        self.worker.start()
        self.worker.wait_ready()

    def _stop(self, signum: int) -> None:
        time.sleep(self.chance.random.uniform(0, 0.2))
        before = len(self.worker.logs())
        self.worker.signal(signum)
        self.hung += not ended(self.worker, since=before)


@pytest.mark.parametrize("how", ["warm", "cold"])
def test_a_worker_that_stops_while_it_parks_or_releases_loses_nothing(
    how: str, broker: Broker, worker_factory: WorkerFactory, redis_server: Any, service: Service, chance: Chance
) -> None:
    """A warm shutdown runs nothing twice; a cold one no more than what was in hand."""
    settings = conf(redis_server, **STOPPING)
    worker = worker_factory(broker=broker, backend=None, concurrency=CONCURRENCY, conf=settings, loglevel="DEBUG")
    stop = Stop(worker, breaker_in(worker.app, "svc"), service, Ledger(service), chance)
    rounds = chance.rounds(short=1, long=20)
    for _ in range(rounds):
        stop.round(signal.SIGTERM if how == "warm" else signal.SIGQUIT)
    settled(stop.ledger, broker, stop.seen)
    worker.stop()
    most = stop.hung * IN_HAND
    if how == "cold":
        most = rounds * IN_HAND + (stop.released if broker.kind == "rabbitmq" else 0)
    what = f"{rounds} {how} shutdowns on {broker.kind}, {stop.hung} of which Celery hung in"
    judged(stop.ledger, broker, most=most, what=what)
