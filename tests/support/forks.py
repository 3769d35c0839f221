"""Forks, for tests of what a child finds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from celery_breaker.testing.crew import in_child

__all__ = ["held_by_a_thread", "in_child"]


@contextmanager
def held_by_a_thread(*locks: Any) -> Iterator[None]:
    """Have another thread hold these locks: a child forked meanwhile finds them held for ever."""
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            taken.set()
            done.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait(20)
    try:
        yield
    finally:
        done.set()
        holder.join()
