"""Ends what takes too long in a database driver that would wait for ever."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

__all__ = ["Deadlines", "within"]

T = TypeVar("T")


class Deadlines:
    """Shuts the sockets whose answer is overdue; the driver that waits on one then sees it closed by the server.

    Drivers on libpq have no time limit of their own, and one on the server's side does not help when the server
    hangs. One thread looks after all; it sleeps while nothing is awaited. Thread-safe; not of use in a forked child.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._awaited: dict[int, float] = {}  # by our own descriptor of the socket
        self._wakes_at = float("inf")
        self._thread: threading.Thread | None = None

    @contextmanager
    def watched(self, descriptor: int, deadline: float) -> Iterator[None]:
        """Shut this socket if the block is not done by then, in seconds of `time.monotonic`."""
        ours = os.dup(descriptor)  # the driver may close its own meanwhile, and the number be given to another file
        with self._changed:
            self._awaited[ours] = deadline
            if deadline < self._wakes_at:
                self._wake()
        try:
            yield
        finally:
            with self._changed:
                self._awaited.pop(ours)
            os.close(ours)

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="celery-breaker-deadlines", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _look(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for descriptor, deadline in self._awaited.items():
                    if deadline <= now:
                        self._awaited[descriptor] = float("inf")
                        _shut(descriptor)
                self._wakes_at = min(self._awaited.values(), default=float("inf"))
                pause = self._wakes_at - now
                self._changed.wait(None if pause == float("inf") else pause)


def _shut(descriptor: int) -> None:
    with suppress(OSError):
        ours = socket.socket(fileno=descriptor)
        try:
            ours.shutdown(socket.SHUT_RDWR)
        finally:
            ours.detach()


class _Attempt(Generic[T]):
    """Something done by another thread, which may be given up."""

    def __init__(self, work: Callable[[], T], discard: Callable[[T], None]) -> None:
        self._work, self._discard = work, discard
        self._lock = threading.Lock()
        self._given_up = False
        self.ended = threading.Event()
        self.results: list[T] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            result = self._work()
        except BaseException as exc:  # for whoever waits
            self.error = exc
        else:
            with self._lock:
                if not self._given_up:
                    self.results.append(result)
            if not self.results:
                with suppress(Exception):
                    self._discard(result)
        self.ended.set()

    def give_up(self) -> list[T]:
        """Discard the result when it comes; the one that has come already, if it has."""
        with self._lock:
            self._given_up = True
            return self.results


def within(seconds: float, work: Callable[[], T], *, discard: Callable[[T], None]) -> T:
    """What ``work`` returns or raises, if it does so in time; else its result is discarded when it comes.

    It runs in a thread of its own: nothing else bounds the look-up of a host's name, or libpq's connecting.

    Raises:
        TimeoutError: it did not.

    Example:
        >>> within(5.0, lambda: 42, discard=print)
        42
    """
    attempt = _Attempt(work, discard)
    threading.Thread(target=attempt.run, name="celery-breaker-connect", daemon=True).start()
    try:
        attempt.ended.wait(max(seconds, 0.0))
    except BaseException:  # a time limit of the task: what nobody waits for would stay open
        for result in attempt.give_up():
            discard(result)
        raise
    results = attempt.give_up()
    if attempt.error is not None:
        raise attempt.error
    if not results:
        raise TimeoutError(f"no connection within {seconds:.1f} s")
    return results[0]
