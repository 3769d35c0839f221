"""Keeps SQLite and forks apart: a file that a process has open while it forks may be corrupted by the child."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Gate"]

_LONGEST_WAIT = 2.0
"""Seconds that a fork waits for an operation to end; those of SQLite take milliseconds unless the disk hangs."""


class Gate:
    """One operation at a time, and none while this process forks. Thread-safe; a forked child needs one of its own.

    The locks that SQLite takes on a file belong to the process, and a child has none of them but believes it has.

    Args:
        shut: closes what is open; called before each fork, while no operation runs.
    """

    def __init__(self, shut: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._shut = shut
        _gates.add(self)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Enter for an operation.

        Raises:
            TimeoutError: another one, or a fork, did not end in time.
        """
        if not self._lock.acquire(timeout=max(seconds, 0.0)):
            raise TimeoutError("another operation of this process does not end")
        try:
            yield
        finally:
            self._lock.release()

    def before_fork(self) -> bool:
        """Wait for the operation that runs, and close; whether that could be done."""
        if not self._lock.acquire(timeout=_LONGEST_WAIT):
            return False
        self._shut()
        return True

    def after_fork(self) -> None:
        """Let operations in again."""
        self._lock.release()


_gates: weakref.WeakSet[Gate] = weakref.WeakSet()
_shut: list[Gate] = []


def _before_fork() -> None:
    _shut[:] = [gate for gate in list(_gates) if gate.before_fork()]


def _after_fork() -> None:
    while _shut:
        _shut.pop().after_fork()


def _after_fork_in_child() -> None:
    for gate in set(_gates).difference(_shut):  # held for ever here, and not to keep a child of ours waiting
        _gates.discard(gate)
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
