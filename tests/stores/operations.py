"""Every operation of a store, for tests of what holds for each: an outage, a hang, a fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from celery_breaker.core.journal import Book
from celery_breaker.core.record import Record, State
from celery_breaker.core.windows import Delta, Window
from celery_breaker.stores.base import Store

OPEN = Record(name="smtp", state=State.OPEN, generation=3, since=1.0, until=2.0, trips=1, reason="5 of 5 calls failed")
WINDOW = Window(span=86_400.0)
FAILURE = Delta().then(failed=True, slow=False)

OPERATIONS: dict[str, Callable[[Store], object]] = {
    "read": lambda store: store.read(["smtp"]),
    "tally": lambda store: store.tally("smtp", FAILURE, WINDOW, generation=0, worker="a"),
    "swap": lambda store: store.swap(OPEN, expected=0),
    "lease": lambda store: store.lease("key", "a", limit=1, ttl=60),
    "release": lambda store: store.release("key", "a"),
    "note": lambda store: store.note("smtp", Book.HISTORY, ["opened"]),
    "notes": lambda store: store.notes("smtp", Book.HISTORY),
    "names": lambda store: store.names(),
    "forget": lambda store: store.forget("smtp"),
    "now": lambda store: store.now(),
}


def use_all(store: Store, *, version: int = 0, failures: int = 1) -> None:
    """Each operation once, but for the one that forgets."""
    assert store.read(["smtp"]).records["smtp"].version == version
    assert store.swap(OPEN, expected=version)
    assert store.read(["smtp"]).records["smtp"] == replace(OPEN, version=version + 1)
    assert store.tally("smtp", FAILURE, WINDOW, generation=3, worker="a").failures == failures
    assert store.lease("smtp:3:permit", "a", limit=1, ttl=60)
    assert not store.lease("smtp:3:permit", "b", limit=1, ttl=60)
    store.release("smtp:3:permit", "a")
    store.note("smtp", Book.HISTORY, ["opened"])
    assert store.notes("smtp", Book.HISTORY)[0] == "opened"
    assert store.names() == ["smtp"]
    assert store.now() > 0


def share_with_children(store: Store, *, ready: Callable[[], bool] = lambda: True, count: int = 4) -> None:
    """After `use_all`: children that we fork count in the store while we read it, and neither gets the other's answers.

    ``ready`` is what each child does first; it may say that something is wrong.
    """
    pids = []
    for number in range(count):
        if not (pid := os.fork()):
            done = 1
            try:
                if ready():
                    for _ in range(20):
                        store.tally("sms", FAILURE, WINDOW, generation=0, worker=str(number))
                    done = 0
            finally:
                os._exit(done)
        pids.append(pid)
    seen = {store.read(["smtp"]).records["smtp"].reason for _ in range(200)}
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * count
    assert seen == {OPEN.reason}
    totals = store.tally("sms", Delta(), WINDOW, generation=0, worker="")
    assert totals.workers == {str(number): 20 for number in range(count)}
