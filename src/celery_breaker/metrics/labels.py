"""Which breakers have a label of their own: ten thousand of them must not blow up a scrape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from celery_breaker.errors import ConfigurationError
from celery_breaker.status.model import Status, urgent_first

__all__ = ["LIMIT", "OTHER", "Labels"]

OTHER = "other"
"""The label of all breakers that have none of their own."""

LIMIT = 200
"""Breakers with a label of their own, if nobody says how many."""


class Labels:
    """The rule by which breakers are labelled. Thread-safe.

    Args:
        names: patterns such as ``"webhook:*"``; what matches none has no label of its own. ``None`` takes all.
        limit: how many have a label of their own at most. Of gauges, those that refuse calls or are overridden come
            first; of counters, which must not change their label, those that were counted first.

    Raises:
        ConfigurationError: these are no patterns, or there can be no such limit.
    """

    def __init__(self, *, names: Iterable[str] | None = None, limit: int = LIMIT) -> None:
        if isinstance(names, str):
            raise ConfigurationError(f"names={names!r} must be several patterns, like [{names!r}]")
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            raise ConfigurationError(f"limit={limit!r} must be a whole number, 0 or above")
        self._patterns = None if names is None else tuple(names)
        self._limit = limit
        self._counted: set[str] = set()

    def _may(self, name: str) -> bool:
        if name == OTHER:
            return False
        return self._patterns is None or any(fnmatchcase(name, pattern) for pattern in self._patterns)

    def shown(self, statuses: Sequence[Status]) -> set[str]:
        """The breakers that have a label of their own among these gauges."""
        candidates = [status for status in statuses if self._may(status.name)]
        if len(candidates) > self._limit:
            candidates = urgent_first(candidates)[: self._limit]
        return {status.name for status in candidates}

    def counted(self, name: str) -> str:
        """The label under which this breaker is counted, now and for ever."""
        if name in self._counted:
            return name
        if len(self._counted) >= self._limit or not self._may(name):
            return OTHER
        self._counted.add(name)
        return name
