"""Simulated time: what is to happen, in order; and processes, which wait by yielding seconds."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator
from typing import Any

__all__ = ["Process", "Timeline"]

Process = Generator[float, None, None]
"""Yields the seconds until it goes on."""


class Timeline:
    """A clock that jumps from event to event. What is due at the same time happens in the order it was asked for.

    Attributes:
        now: seconds since the start.
    """

    __slots__ = ("_asked", "_heap", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._asked = 0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []

    def at(self, when: float, act: Callable[..., None], *args: Any) -> None:
        """Call ``act(*args)`` at second ``when``."""
        self._asked += 1
        heapq.heappush(self._heap, (when, self._asked, act, args))

    def after(self, delay: float, act: Callable[..., None], *args: Any) -> None:
        """Call ``act(*args)`` in ``delay`` seconds."""
        self._asked += 1
        heapq.heappush(self._heap, (self.now + delay, self._asked, act, args))

    def spawn(self, process: Process) -> None:
        """Run a process, up to its first wait at once."""
        for delay in process:
            if delay > 0:
                self.after(delay, self.spawn, process)
                return

    def run(self, until: float) -> None:
        """Let everything happen that is due up to second ``until``, which is now afterwards.

        Example:
            >>> timeline = Timeline()
            >>> timeline.after(2.5, lambda: print(timeline.now))
            >>> timeline.run(until=10.0)
            2.5
        """
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= until:
            self.now, _, act, args = pop(heap)
            act(*args)
        self.now = until
