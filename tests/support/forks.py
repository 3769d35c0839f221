"""Forks, for tests of what a child finds."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

__all__ = ["held_by_a_thread", "in_child"]


def in_child(work: Callable[[], object]) -> str:
    """What ``work`` returns, or raises, in a forked child, as text."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            text = repr(work())
        except BaseException as exc:
            text = f"raised {exc!r}"
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return text


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
