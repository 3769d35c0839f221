"""The latest failures of each breaker that are still to be noted: few, and not more often than people read them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from celery_breaker.core.journal import Entry

__all__ = ["RecentFailures"]

_PAUSE = 1.0
"""Seconds between two notes of one breaker, so that an outage costs the store no more than a look each second."""

_AT_ONCE = 5
"""Failures in one note; of more, the latest."""


class RecentFailures:
    """Gathers failures for the journals. For the reporter alone: not thread-safe.

    Example:
        >>> from celery_breaker.core.journal import Event
        >>> recent = RecentFailures()
        >>> recent.add("smtp", Entry(at=1.0, event=Event.FAILURE, what="OSError()"))
        >>> [(name, len(entries)) for name, entries in recent.due(10.0)], list(recent.due(10.0))
        ([('smtp', 1)], [])
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Entry]] = {}
        self._noted_at: dict[str, float] = {}

    def add(self, name: str, entry: Entry) -> None:
        """One more failure."""
        self._waiting.setdefault(name, deque(maxlen=_AT_ONCE)).append(entry)

    def due(self, now: float, *, all_of_them: bool = False) -> Iterator[tuple[str, list[Entry]]]:
        """What is to be noted at ``now``, in seconds of the process's clock; each is given once."""
        for name in list(self._waiting):
            if all_of_them or now - self._noted_at.get(name, float("-inf")) >= _PAUSE:
                self._noted_at[name] = now
                yield name, list(self._waiting.pop(name))

    def forget(self, name: str) -> None:
        """This breaker is no longer followed."""
        self._waiting.pop(name, None)
        self._noted_at.pop(name, None)
