"""Other processes for a test: many at once that start together, and one that is forked."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from celery_breaker.stores.base import Store

__all__ = ["Crew", "in_child"]

Job = Callable[..., Any]


class Crew:
    """Processes that are started afresh, share nothing with us or each other, and wait for work.

    Args:
        size: how many.
        timeout: seconds that each step of `run` may take.

    Example:
        >>> from celery_breaker.stores.memory import MemoryStore
        >>> crew = Crew(2)
        >>> crew.run(MemoryStore, MemoryStore.names)
        [[], []]
        >>> crew.close()
    """

    def __init__(self, size: int, *, timeout: float = 120.0) -> None:
        self.size = size
        self._timeout = timeout
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def run(self, opener: Callable[[], Store], job: Job, *args: Any) -> list[Any]:
        """What ``job(store, *args)`` returns in each process; it begins once all have opened the store.

        Raises:
            RuntimeError: a process failed, with its traceback; the crew is closed then.
        """
        try:
            for pipe in self._pipes:
                pipe.send((opener, job, args))
            for pipe in self._pipes:
                self._answer(pipe)
            for pipe in self._pipes:
                pipe.send("go")
            return [self._answer(pipe) for pipe in self._pipes]
        except BaseException:
            self.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether its processes are gone."""
        return not self._processes

    def close(self) -> None:
        """End the processes, whatever they are at."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
        for pipe in self._pipes:
            pipe.close()
        self._processes, self._pipes = [], []

    def _answer(self, pipe: Connection) -> Any:
        if not pipe.poll(self._timeout):
            raise RuntimeError(f"a process did not answer within {self._timeout:g} s")
        try:
            well, answer = pipe.recv()
        except EOFError:
            raise RuntimeError("a process ended") from None
        if not well:
            raise RuntimeError(f"in another process:\n{answer}")
        return answer


def _serve(pipe: Connection) -> None:
    while True:
        try:
            opener, job, args = pipe.recv()
            store = opener()
            try:
                store.now()
                pipe.send((True, None))
                pipe.recv()
                answer = job(store, *args)
            finally:
                store.close()
            pipe.send((True, answer))
        except EOFError:
            return
        except Exception:
            pipe.send((False, traceback.format_exc()))


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
