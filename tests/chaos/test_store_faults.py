"""A store that hangs, dies, forgets its scripts or all it knew: tasks go on, and the fleet finds together again."""

from __future__ import annotations

import json
import statistics
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from celery_breaker.plugin.app import breakers_of
from tests.chaos.chance import LONG, Chance
from tests.chaos.held import QUIET, becomes, pair, record_of
from tests.chaos.watched_loop import TURNS_VARIABLE, Turn, read_turns
from tests.integration import guarded
from tests.support.breakers import QUICK, REJOIN, Seen, breaker_in, conf, logged
from tests.support.servers import RedisServer
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Worker, WorkerFactory

pytestmark = pytest.mark.alone

LEAST_SHARE = 0.95 if LONG else 0.4
"""Of the normal throughput while the store hangs. A single wait for its timeout, a second, would leave a third."""

LONGEST_STALL = 0.05 if LONG else 0.2
"""Seconds, where the loop does not stall for longer than that even while the store is well."""

IN_FLIGHT = 4
"""Calls under way as a breaker trips: of two workers with one slot, for a call takes no time and the news does."""


# --- it hangs ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stretch:
    """What a worker did over a few seconds: tasks a second, and the longest stall of its main loop in seconds."""

    rate: float
    stall: float

    @classmethod
    def of(cls, turns: list[Turn]) -> Stretch:
        first, last = turns[0], turns[-1]
        return cls((last.received - first.received) / (last.at - first.at), max(turn.stall for turn in turns[1:]))


def fill(broker: RedisServer, queue: str, number: int) -> None:
    """Put many copies of a task into its queue, faster than any producer could."""
    guarded.judged.apply_async(("good",), queue=f"{queue}.mould")
    with broker.client(0) as client:
        mould = client.rpop(f"{queue}.mould").decode()
        message = json.loads(mould)
        for start in range(0, number, 1000):
            copies = []
            for _ in range(start, min(start + 1000, number)):
                task_id, tag = str(uuid.uuid4()), str(uuid.uuid4())
                copy = mould.replace(message["headers"]["id"], task_id).replace(f"{queue}.mould", queue)
                copies.append(copy.replace(message["properties"]["delivery_tag"], tag))
            client.lpush(queue, *copies)


def test_a_store_that_hangs_slows_no_task_and_stalls_no_loop(
    worker_factory: WorkerFactory, redis_server: RedisServer, make_redis: Any, chance: Chance, tmp_path: Path
) -> None:
    store, turns_file = make_redis(), tmp_path / "turns"
    settings = conf(redis_server, breakers={"judged": QUICK}, breaker_store=store.url_for(0))
    worker = worker_factory(
        backend=None,
        concurrency=2,
        queues=["work"],
        conf=settings,
        env={TURNS_VARIABLE: str(turns_file)},
        app="tests.chaos.watched_loop:app",
        args=QUIET,
    )
    assert worker.app
    seconds, rounds = 1.5, chance.rounds(short=2, long=20)

    def stretch() -> Stretch:
        """From now on, to the first line after these seconds: a loop that stands still at their end is seen, too."""
        start = time.monotonic()
        eventually(lambda: read_turns(turns_file)[-1].at > start + seconds, "the loop should turn", timeout=60)
        return Stretch.of([turn for turn in read_turns(turns_file) if turn.at > start])

    def backs() -> int:
        return worker.logs().count("store is back")

    healthy, hung = [], []
    fill(redis_server, "work", 4000)
    eventually(lambda: (turns := read_turns(turns_file)) and turns[-1].received > 500, "it should be warm")
    for number in range(rounds):
        with redis_server.client(0) as client:
            fill(redis_server, "work", max(0, int(8 * seconds * 1500) - client.llen("work")))
            healthy.append(stretch())
            store.pause()
            hung.append(stretch())
            assert client.llen("work"), "it should never have run out of work"
        worker.wait_for_log("store is out of reach")
        store.resume()
        eventually(lambda n=number: backs() == n + 1, "it should rejoin", timeout=10)
    shares = [one.rate / other.rate for one, other in zip(hung, healthy, strict=True)]
    share, stall, noise = statistics.median(shares), max(one.stall for one in hung), max(one.stall for one in healthy)
    told = (
        f"{share:.3f} of the normal {statistics.median(one.rate for one in healthy):.0f} tasks/s "
        f"({min(shares):.2f} to {max(shares):.2f}), longest stall {stall * 1000:.1f} ms, "
        f"{noise * 1000:.1f} ms while the store is well"
    )
    print(f"a store that hangs: {told}")  # noqa: T201  (the long form's figures)
    assert share >= LEAST_SHARE, told
    assert stall < max(LONGEST_STALL, noise), told


# --- it dies ----------------------------------------------------------------------------------------------------------


def sent(service: Service, numbers: range, *, queue: str) -> list[Any]:
    return [guarded.once.apply_async((service.folder, number), queue=queue) for number in numbers]


def test_workers_go_on_alone_while_the_store_is_dead_and_rejoin_when_it_is_back(
    worker_factory: WorkerFactory, service: Service, redis_server: RedisServer, make_redis: Any, chance: Chance
) -> None:
    store = make_redis()
    policy = {**QUICK, "recovery_timeout": 60, "max_recovery_timeout": 60}
    settings = conf(redis_server, breakers={"svc": policy}, breaker_store=store.url_for(0))
    workers = pair(worker_factory, settings, concurrency=1)
    seen = breaker_in(workers[0].app, "svc")
    for number in range(chance.rounds(short=1, long=8)):
        alone(workers, service, seen, store, times=number + 1, away=chance.random.uniform(0, 4))
    service.go_down()
    sent(service, range(100, 103), queue="one")
    workers[1].wait_for_log(r"breaker 'svc' is open, says the store")


def alone(
    workers: Sequence[Worker], service: Service, seen: Seen, store: RedisServer, *, times: int, away: float
) -> None:
    """An outage of the service that begins and ends while the store is dead, for the ``times``-th time."""
    calls = len(service.calls())
    store.kill()
    for worker in workers:
        logged(worker, "store is out of reach", times)
    service.go_down()
    results = sent(service, range(10), queue="one") + sent(service, range(10, 20), queue="two")

    def called() -> int:
        return len(service.calls()) - calls

    eventually(lambda: seen.parked() + called() == 20, lambda: f"parked: {seen.parked()}", timeout=20)
    assert 6 <= called() <= 6 + IN_FLIGHT, "each worker trips on its own, at the third failure"
    assert [worker.logs().count("breaker 'svc' opened") for worker in workers] == [times] * 2
    failed = called()
    service.come_back()
    parted = time.monotonic()
    eventually(lambda: time.monotonic() - parted >= away)
    store.start()
    for worker in workers:
        logged(worker, "store is back", times, timeout=REJOIN)
    eventually(lambda: served(results) == 20 - failed, "what they parked should come back", timeout=20)


def served(results: list[Any]) -> int:
    return sum(result.state == "SUCCESS" for result in results)


# --- it forgets -------------------------------------------------------------------------------------------------------


def outage(service: Service, seen: Seen, numbers: range, *, meanwhile: Callable[[], object]) -> None:
    """An outage of at least two open intervals under these tasks; ``meanwhile`` is called time and again.

    Nothing is lost, nothing runs twice, and once the breaker is open only probes reach the dead service: one for each
    interval, and one for each time that ``meanwhile`` says it has made the store forget who holds the permit.
    """
    forgotten = 0
    before = len(service.refused())
    service.go_down()
    results = [sent(service, range(n, n + 1), queue=("one", "two")[n % 2])[0] for n in numbers]

    def met() -> set[int]:
        return {int(call.words[0]) for call in service.refused()} & set(numbers)

    def probed() -> bool:
        nonlocal forgotten
        forgotten += meanwhile() is True
        return record_of(seen).trips >= 3

    def drained() -> bool:
        meanwhile()
        return served(results) + len(met()) == len(numbers)

    eventually(probed, "probes should fail", timeout=30, interval=0.05)
    service.come_back()
    refused = len(service.refused()) - before
    allowed = 3 + IN_FLIGHT + record_of(seen).trips + forgotten
    assert refused <= allowed, "the trip, what was in flight then, and probes"
    eventually(drained, lambda: f"{served(results)} came back, {len(met())} failed", timeout=30, interval=0.05)
    assert Counter(n for n in service.served() if n in numbers) == Counter(set(numbers) - met()), "each ran once"
    more = iter(range(numbers.stop, numbers.stop + 50))

    def closed() -> bool:
        sent(service, range(n := next(more), n + 1), queue="one")  # a store that was emptied may want a probe yet
        return record_of(seen).state == "closed"

    eventually(closed, "it should close", timeout=20, interval=0.5)


def test_a_script_flush_in_mid_flight_changes_nothing(
    worker_factory: WorkerFactory, service: Service, redis_server: RedisServer, make_redis: Any, chance: Chance
) -> None:
    store = make_redis()
    workers = pair(worker_factory, conf(redis_server, breaker_store=store.url_for(0)), concurrency=1)
    seen = breaker_in(workers[0].app, "svc")
    with store.client(0) as client:
        for number in range(chance.rounds(short=1, long=5)):
            numbers = range(100 * number, 100 * number + 40)
            outage(service, seen, numbers, meanwhile=lambda: client.script_flush() and None)
        assert client.info("stats")["total_error_replies"] > 0, "scripts were missed"
    for worker in workers:
        assert "store is out of reach" not in worker.logs()


def test_a_store_that_is_emptied_while_the_breaker_is_open_gets_its_state_back(
    worker_factory: WorkerFactory, service: Service, redis_server: RedisServer, make_redis: Any
) -> None:
    store = make_redis()
    policy = {**QUICK, "recovery_timeout": 3.0}
    settings = conf(redis_server, breakers={"svc": policy}, breaker_store=store.url_for(0))
    workers = pair(worker_factory, settings, concurrency=1)
    seen = breaker_in(workers[0].app, "svc")
    service.go_down()
    sent(service, range(3), queue="one")
    opened = becomes(seen, "open")
    for worker in workers:
        worker.wait_for_log(r"breaker 'svc' (opened|is open)")
    calls = len(service.calls())
    breakers_of(workers[0].app).forget()  # else the test's own process could be who writes it back
    with store.client(0) as client:
        client.flushall()
        results = sent(service, range(10, 15), queue="one") + sent(service, range(15, 20), queue="two")
        eventually(lambda: seen.parked() == 10, "the gates should still be shut")
        key = f"{settings['breaker_store_prefix']}:{{svc}}:record"
        eventually(lambda: client.exists(key), "a worker should write the record back")
    kept = record_of(seen)
    assert (kept.state, kept.generation, kept.until) == (opened.state, opened.generation, opened.until)
    assert len(service.calls()) == calls
    service.come_back()
    eventually(lambda: served(results) == 10, "all should come back", timeout=20)
    assert min(call.at for call in service.calls() if call.up) >= opened.until, "and not before its time"
    assert sorted(service.served()) == list(range(10, 20))


def test_a_store_that_is_emptied_time_and_again_loses_no_task(
    worker_factory: WorkerFactory, service: Service, redis_server: RedisServer, make_redis: Any, chance: Chance
) -> None:
    store = make_redis()
    workers = pair(worker_factory, conf(redis_server, breaker_store=store.url_for(0)), concurrency=1)
    seen = breaker_in(workers[0].app, "svc")
    with store.client(0) as client:

        def perhaps() -> bool:
            return chance.random.random() < 0.05 and bool(client.flushall())

        for number in range(chance.rounds(short=1, long=8)):
            outage(service, seen, range(100 * number, 100 * number + 40), meanwhile=perhaps)
