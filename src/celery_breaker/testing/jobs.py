"""What the processes of `ProcessContract` do, each with a store of its own. Apart from it: they need no pytest."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from unittest import mock

from celery_breaker.core.journal import Book
from celery_breaker.core.record import Record
from celery_breaker.core.windows import Delta, Totals, Window
from celery_breaker.stores.base import Store

__all__ = ["DAY", "FAILURE", "behind_the_times", "count", "count_and_forget", "lease", "note", "open_once", "swap"]

DAY = Window(span=86_400.0)
"""A window that nothing leaves during a test."""

FAILURE = Delta().then(failed=True, slow=False)


def count(store: Store, rounds: int) -> int:
    """Add to one window again and again."""
    for _ in range(rounds):
        store.tally("smtp", Delta(calls=3, failures=2, streak=2), DAY, generation=0, worker=str(os.getpid()))
    return os.getpid()


def count_and_forget(store: Store, rounds: int) -> list[Totals]:
    """Add to one window, and now and then forget it."""
    answers = []
    for turn in range(rounds):
        answers.append(store.tally("smtp", FAILURE, DAY, generation=0, worker=str(os.getpid())))
        if turn % 5 == 4:
            store.forget("smtp")
    return answers


def swap(store: Store, rounds: int) -> list[int]:
    """Versions that this process wrote."""
    won = []
    for _ in range(rounds):
        record = store.read(["smtp"]).records["smtp"]
        if store.swap(replace(record, generation=record.generation + 1), expected=record.version):
            won.append(record.version + 1)
    return won


def open_once(store: Store, rounds: int) -> list[int]:
    """Rounds in which this process was the one to write the first record."""
    return [number for number in range(rounds) if store.swap(Record(name=f"breaker {number}"), expected=0)]


def lease(store: Store, rounds: int) -> list[tuple[float, float]]:
    """From when to when, by a clock that all processes of a machine share, this one held a place for certain."""
    held = []
    for turn in range(rounds):
        holder = f"{os.getpid()}:{turn}"
        if store.lease("key", holder, limit=3, ttl=600):
            start = time.monotonic()
            held.append((start, time.monotonic()))
            store.release("key", holder)
    return held


def note(store: Store, entries: int) -> list[str]:
    """What this process adds to one journal."""
    added = [f"{os.getpid()}:{number}" for number in range(entries)]
    for entry in added:
        store.note("smtp", Book.HISTORY, [entry])
    return added


def behind_the_times(store: Store, off: float) -> tuple[bool, int, float]:
    """Whether a process whose own clock is ``off`` gets the place, what it counts, and what it takes for the time."""
    with mock.patch("time.time", partial(_shifted, time.time, off)):
        held = store.lease("key", f"late {os.getpid()}", limit=1, ttl=60).held
        totals = store.tally("smtp", FAILURE, DAY, generation=0, worker=str(os.getpid()))
        return held, totals.calls, store.now()


def _shifted(clock: Callable[[], float], off: float) -> float:
    return clock() + off
