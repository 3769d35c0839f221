"""Places on the ramp: leave for so many calls, that a process has taken from the fleet's for a moment."""

from __future__ import annotations

import threading

__all__ = ["Places"]


class Places:
    """Thread-safe; the lock is never held for longer than it takes to count.

    Example:
        >>> places = Places()
        >>> places.add(1, until=10.5)
        >>> places.take(10.0), places.take(10.0)
        (True, False)
    """

    __slots__ = ("_left", "_lock", "_until")

    def __init__(self) -> None:
        self._left = 0
        self._until = float("-inf")
        self._lock = threading.Lock()

    def add(self, count: int, *, until: float) -> None:
        """So many more, all of which are void from then on; seconds of any clock."""
        with self._lock:
            self._left += count
            self._until = until

    def take(self, now: float) -> bool:
        """Take one, if there is one."""
        with self._lock:
            if now >= self._until:
                self._left = 0
            if not self._left:
                return False
            self._left -= 1
            return True
