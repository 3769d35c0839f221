"""Figures over time: for how a breaker did lately, kept small enough for thousands of breakers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from celery_breaker.status.model import Status

__all__ = ["Point", "Series"]


class Point(NamedTuple):
    """What was seen at one moment (seconds of the store's clock); counts are of the window that ended then.

    Example:
        >>> Point(at=100.0, calls=7, failures=5, slow=0, parked=0).failures
        5
    """

    at: float
    calls: int
    failures: int
    slow: int
    parked: int


class Series:
    """Points of one breaker, oldest first: one for each change, and none while nothing changes.

    Args:
        span: seconds that are kept.
        step: seconds that a point stands for at the least; of several within it, the last stays.

    Example:
        >>> series = Series(span=60.0, step=1.0)
        >>> for at, calls in ((1.0, 0), (2.0, 0), (3.0, 5), (3.5, 6), (3.8, 7)):
        ...     series.add(Point(at, calls, 0, 0, 0))
        >>> [(point.at, point.calls) for point in series]
        [(1.0, 0), (2.0, 0), (3.0, 5), (3.8, 7)]
    """

    def __init__(self, *, span: float = 3600.0, step: float = 5.0) -> None:
        self._span, self._step = span, step
        self._points: deque[Point] = deque()

    def __iter__(self) -> Iterator[Point]:
        return iter(tuple(self._points))

    def __len__(self) -> int:
        return len(self._points)

    def add(self, point: Point) -> None:
        """One more look."""
        points = self._points
        if len(points) > 1 and _same(points[-1], point) and _same(points[-2], point):
            points[-1] = point  # a flat stretch has two ends
        elif len(points) > 1 and point.at - points[-2].at < self._step:
            points[-1] = point
        else:
            points.append(point)
        while len(points) > 1 and points[1].at <= point.at - self._span:
            points.popleft()  # the last one before the span says where it begins

    def seen(self, status: Status, *, at: float) -> None:
        """One more look at a breaker."""
        self.add(Point(at, status.calls, status.failures, status.slow, status.parked or 0))


def _same(one: Point, other: Point) -> bool:
    return one[1:] == other[1:]
