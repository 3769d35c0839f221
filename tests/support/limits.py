"""How long something may take, and a time limit that strikes in the midst of it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["SLACK", "at_most", "raised_after"]

SLACK = 1.0
"""Seconds by which a busy machine may be late; tests of timeouts of a second rely on it that a second one shows."""


@contextmanager
def at_most(seconds: float, *, at_least: float = 0.0) -> Iterator[None]:
    """What is done meanwhile takes no longer, but for what a busy machine adds; also where it ends in an exception."""
    started = time.monotonic()
    try:
        yield
    finally:
        took = time.monotonic() - started
        assert at_least <= took < seconds + SLACK, f"took {took:.2f} s"


@contextmanager
def raised_after(seconds: float, error: type[BaseException]) -> Iterator[None]:
    """Has a signal's handler raise this in the midst of whatever the main thread is at then, as a time limit does."""

    def strike(*_: object) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, strike)
    others, _ = signal.setitimer(signal.ITIMER_REAL, seconds)  # pytest-timeout's
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, others)
