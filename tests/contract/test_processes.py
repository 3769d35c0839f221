"""Eight processes on one Redis."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from celery_breaker.core.windows import Delta
from celery_breaker.stores.redis import RedisStore
from tests.contract import jobs
from tests.contract.conftest import fresh_redis
from tests.support.servers import RedisServer

PROCESSES = 8


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(PROCESSES)  # no process takes a second job before all have one
    with ProcessPoolExecutor(PROCESSES, mp_context=context, initializer=jobs.set_up, initargs=(gate,)) as pool:
        yield pool


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[RedisStore]:
    with fresh_redis(redis_server) as store:
        yield store


@pytest.fixture
def run(processes: ProcessPoolExecutor, store: RedisStore, redis_server: RedisServer) -> Callable[..., list[Any]]:
    """`run(job, rounds)` → what each process returned."""

    def run(job: Callable[..., Any], rounds: int) -> list[Any]:
        futures = [processes.submit(job, redis_server.url, store._prefix, rounds) for _ in range(PROCESSES)]
        return [future.result(90) for future in futures]

    return run


def test_totals_are_exact(run: Callable[..., list[Any]], store: RedisStore) -> None:
    pids = run(jobs.count, 200)
    totals = store.tally("smtp", Delta(), jobs.WINDOW, generation=0, worker="")
    assert len(set(pids)) == PROCESSES
    assert (totals.calls, totals.failures, totals.streak) == (4800, 3200, 3200)
    assert totals.workers == {str(pid): 400 for pid in pids}


def test_each_version_has_one_author(run: Callable[..., list[Any]], store: RedisStore) -> None:
    written = [version for versions in run(jobs.swap, 100) for version in versions]
    record = store.read(["smtp"]).records["smtp"]
    assert sorted(written) == list(range(1, record.version + 1))
    assert record.generation == record.version


def test_one_process_opens(run: Callable[..., list[Any]]) -> None:
    won = [number for numbers in run(jobs.open_once, 100) for number in numbers]
    assert sorted(won) == list(range(100))


def test_never_more_holders_than_places(run: Callable[..., list[Any]]) -> None:
    held = [span for spans in run(jobs.lease, 100) for span in spans]
    edges = sorted([(start, 1) for start, _ in held] + [(end, -1) for _, end in held])
    inside = most = 0
    for _, step in edges:
        inside += step
        most = max(most, inside)
    assert len(held) >= 3
    assert 1 <= most <= 3
