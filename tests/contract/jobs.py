"""What the processes of `test_processes.py` do. They are started afresh and share nothing but the server."""

from __future__ import annotations

import os
from dataclasses import replace
from multiprocessing.synchronize import Barrier

from celery_breaker.core.record import Record
from celery_breaker.core.windows import Delta, Window
from celery_breaker.stores.redis import RedisStore

WINDOW = Window(span=86_400.0)

_gate: Barrier


def set_up(gate: Barrier) -> None:
    global _gate  # noqa: PLW0603  an initializer has nowhere else to put it
    _gate = gate


def together(url: str, prefix: str) -> RedisStore:
    """A store, once every process has come this far."""
    store = RedisStore(url, prefix=prefix, timeout=10.0)
    store.now()
    _gate.wait(60)
    return store


def count(url: str, prefix: str, rounds: int) -> int:
    store = together(url, prefix)
    for _ in range(rounds):
        store.tally("smtp", Delta(calls=3, failures=2, streak=2), WINDOW, generation=0, worker=str(os.getpid()))
    return os.getpid()


def swap(url: str, prefix: str, rounds: int) -> list[int]:
    """Versions that this process wrote."""
    store = together(url, prefix)
    won = []
    for _ in range(rounds):
        record = store.read(["smtp"]).records["smtp"]
        if store.swap(replace(record, generation=record.generation + 1), expected=record.version):
            won.append(record.version + 1)
    return won


def open_once(url: str, prefix: str, rounds: int) -> list[int]:
    """Rounds in which this process was the one to write the first record."""
    store = together(url, prefix)
    return [number for number in range(rounds) if store.swap(Record(name=f"breaker {number}"), expected=0)]


def lease(url: str, prefix: str, rounds: int) -> list[tuple[float, float]]:
    """From when to when, by the server's clock, this process held a place for certain."""
    store = together(url, prefix)
    held = []
    for turn in range(rounds):
        holder = f"{os.getpid()}:{turn}"
        if store.lease("key", holder, limit=3, ttl=60):
            start = store.now()
            held.append((start, store.now()))
            store.release("key", holder)
    return held
