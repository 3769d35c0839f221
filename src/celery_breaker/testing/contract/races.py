"""Many threads at once: nothing is lost, and one wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from celery_breaker.core.record import Record
from celery_breaker.core.windows import Delta, Totals
from celery_breaker.stores.base import Store
from celery_breaker.testing.contract.access import DAY, Opener, StoreAccess

__all__ = ["RaceContract"]

T = TypeVar("T")

THREADS = 8


def all_at_once(connect: Opener, work: Callable[[Store, int], T]) -> list[T]:
    """What ``work`` returns in each of the threads, which start together, each with a connection of its own."""
    gate = threading.Barrier(THREADS)

    def run(number: int) -> T:
        store = connect()
        gate.wait(20)
        return work(store, number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


class RaceContract(StoreAccess):
    """Threads, each with a connection of its own."""

    def test_no_count_is_lost(self, connect: Opener) -> None:
        def work(store: Store, number: int) -> list[Totals]:
            delta = Delta(calls=2, failures=1, slow=1, streak=1)
            return [store.tally("smtp", delta, DAY, generation=0, worker=f"w{number}") for _ in range(50)]

        found = all_at_once(connect, work)
        totals = connect().tally("smtp", Delta(), DAY, generation=0, worker="")
        assert (totals.calls, totals.failures, totals.slow, totals.streak) == (800, 400, 400, 400)
        assert totals.workers == {f"w{number}": 50 for number in range(THREADS)}
        seen = sorted(each.failures for answers in found for each in answers)
        assert seen == list(range(1, 401)), "each saw a moment of its own"

    def test_one_wins_each_swap(self, connect: Opener) -> None:
        def work(store: Store, number: int) -> int:
            return sum(store.swap(Record(name="smtp", reason=str(number)), expected=version) for version in range(40))

        wins = all_at_once(connect, work)
        assert connect().read(["smtp"]).records["smtp"].version == sum(wins) <= 40
        assert sum(wins) >= 1

    def test_compare_and_set_loses_no_step(self, connect: Opener) -> None:
        def work(store: Store, number: int) -> None:
            for _ in range(25):
                while True:
                    record = store.read(["smtp"]).records["smtp"]
                    if store.swap(replace(record, generation=record.generation + 1), expected=record.version):
                        break

        all_at_once(connect, work)
        record = connect().read(["smtp"]).records["smtp"]
        assert (record.generation, record.version) == (200, 200)

    def test_never_more_holders_than_places(self, connect: Opener) -> None:
        inside, most, lock = 0, 0, threading.Lock()

        def work(store: Store, number: int) -> int:
            nonlocal inside, most
            entered = 0
            for turn in range(60):
                holder = f"{number}:{turn}"
                if not store.lease("key", holder, limit=3, ttl=60):
                    continue
                with lock:
                    inside += 1
                    most = max(most, inside)
                with lock:
                    inside -= 1
                store.release("key", holder)
                entered += 1
            return entered

        entered = all_at_once(connect, work)
        assert sum(entered) > 0
        assert most <= 3
        assert [connect().lease("key", f"after {n}", limit=3, ttl=60).held for n in range(4)] == [
            True,
            True,
            True,
            False,
        ]
