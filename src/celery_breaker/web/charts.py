"""Drawings of figures over time, as the numbers and paths that an SVG holds. Pure; no style is said here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from celery_breaker.core.journal import Entry, Event
from celery_breaker.core.record import State
from celery_breaker.status.series import Point

__all__ = [
    "HEIGHT",
    "SPARK_HEIGHT",
    "SPARK_STEP",
    "SPARK_WIDTH",
    "WIDTH",
    "Chart",
    "Course",
    "Line",
    "Spark",
    "calls_chart",
    "parked_chart",
    "spark",
]

WIDTH, HEIGHT = 600, 120
SPARK_WIDTH, SPARK_HEIGHT = 96, 20

_SPARK_SPAN = 600.0
"""Seconds that a sparkline looks back."""

SPARK_STEP = 10.0
"""Seconds by which it moves on: less often than one looks, for each move is a row drawn anew."""

_HOT = 0.25
"""Failure rate that should catch the eye."""

_SPAN, _SHORTEST = 3600.0, 60.0
"""Seconds that a chart looks back, and those that it spans at the least."""

_ROWS = 24
"""Rows of the table that says in figures what a chart draws."""


@dataclass(frozen=True, slots=True)
class Spark:
    """The failure rate lately. Paths are empty where nothing was called.

    Attributes:
        threshold: how high the rate that trips is drawn; ``None`` if none is.
        words: the same for who cannot see it.
        hot: a good part of the calls failed at some time.
    """

    line: str
    area: str
    threshold: float | None
    words: str
    hot: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of a chart; ``kind`` names its colour and pattern."""

    kind: str
    words: str
    line: str
    area: str
    now: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Figures over a span of time.

    Attributes:
        top: the figure at the upper edge.
        shades: left edge and width of each stretch in which the breaker was open.
        begin: seconds of the store's clock at the left edge.
        table: moments, oldest first, each with a figure for each line.
    """

    title: str
    words: str
    top: str
    lines: tuple[Line, ...]
    shades: tuple[tuple[float, float], ...]
    begin: float
    table: tuple[tuple[float, tuple[int, ...]], ...]


# --- sparklines -------------------------------------------------------------------------------------------------------


def spark(points: Iterable[Point], *, end: float, threshold: float = 0.0) -> Spark:
    """The failure rate of the ten minutes before ``end``, between 0 and 1."""
    begin = end - _SPARK_SPAN
    shown = _within(points, begin)
    if not any(point.calls for point in shown):
        return Spark("", "", None, "")
    rates = [(point.at, point.failures / point.calls if point.calls else 0.0) for point in shown]
    peak = max(rate for _, rate in rates)
    height = SPARK_HEIGHT - 2
    corners = [(_x(moment, begin, end, SPARK_WIDTH), 1 + height * (1 - rate)) for moment, rate in rates]
    level = round(1 + height * (1 - threshold), 1) if 0 < threshold < 1 else None
    words = f"at worst {peak:.0%} in the last 10 minutes" if peak else ""
    return Spark(_path(corners), _filled(corners, 1 + height) if peak else "", level, words, hot=peak >= _HOT)


# --- charts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Figure:
    kind: str
    words: str
    of: Callable[[Point], int]


_CALLS = (
    _Figure("calls", "calls", lambda point: point.calls),
    _Figure("slow", "slow", lambda point: point.slow),
    _Figure("failures", "failed", lambda point: point.failures),
)
_PARKED = (_Figure("parked", "parked", lambda point: point.parked),)


@dataclass(frozen=True, slots=True)
class Course:
    """What charts are drawn from: points, oldest first; the journal, latest first; and the moment they end at."""

    points: Sequence[Point]
    history: Sequence[Entry]
    end: float


def calls_chart(course: Course, *, window: str) -> Chart:
    """Calls, failures and slow calls in the window that ended at each moment of the last hour."""
    return _chart(f"Calls, in a window of {window}", course, _CALLS)


def parked_chart(course: Course) -> Chart:
    """Parked tasks in the last hour."""
    return _chart("Parked tasks", course, _PARKED)


def _chart(title: str, course: Course, figures: Sequence[_Figure]) -> Chart:
    begin = course.end - _SPAN
    shown = _within(course.points, begin)
    if shown:
        begin = min(course.end - _SHORTEST, max(begin, shown[0].at))
    most = [max((figure.of(point) for point in shown), default=0) for figure in figures]
    lines = tuple(_line(figure, shown, begin=begin, end=course.end, top=max(most)) for figure in figures)
    return Chart(
        title=title,
        words="; ".join(
            f"{line.words}: now {line.now}, at most {peak:,}" for line, peak in zip(lines, most, strict=True)
        ),
        top=f"{max(most):,}",
        lines=lines,
        shades=_shades(course.history, begin, course.end),
        begin=float(round(begin)),
        table=tuple((point.at, tuple(figure.of(point) for figure in figures)) for point in _some(shown)),
    )


def _line(figure: _Figure, points: Sequence[Point], *, begin: float, end: float, top: int) -> Line:
    if not points or not any(map(figure.of, points)):
        return Line(figure.kind, figure.words, "", "", "0")
    corners = [(_x(point.at, begin, end, WIDTH), 1 + (HEIGHT - 2) * (1 - figure.of(point) / top)) for point in points]
    return Line(figure.kind, figure.words, _path(corners), _filled(corners, HEIGHT - 1), f"{figure.of(points[-1]):,}")


def _shades(history: Sequence[Entry], begin: float, end: float) -> tuple[tuple[float, float], ...]:
    """Where the breaker was open; ``history`` is latest first."""
    shades, until = [], end
    for entry in (entry for entry in history if entry.event is Event.TRANSITION):
        if entry.what == State.OPEN and until > begin:
            left = _x(max(entry.at, begin), begin, end, WIDTH)
            shades.append((left, round(max(_x(until, begin, end, WIDTH) - left, 1.0), 1)))
        until = entry.at
    return tuple(reversed(shades))


# --- geometry ---------------------------------------------------------------------------------------------------------


def _within(points: Iterable[Point], begin: float) -> list[Point]:
    """Those from ``begin`` on, and the last one before as if it were there."""
    known = list(points)
    first = next((place for place, point in enumerate(known) if point.at > begin), len(known))
    before = [known[first - 1]._replace(at=begin)] if first else []
    return before + known[first:]


def _some(points: Sequence[Point]) -> Sequence[Point]:
    """At most so many as a table should have, the last one among them."""
    step = math.ceil(len(points) / _ROWS) or 1
    return points[::-1][::step][::-1]


def _x(moment: float, begin: float, end: float, width: float) -> float:
    return round(min(max((moment - begin) / (end - begin), 0.0), 1.0) * width, 1)


def _path(corners: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:.1f}" for x, y in corners)


def _filled(corners: Sequence[tuple[float, float]], floor: float) -> str:
    return f"{_path(corners)}L{corners[-1][0]:g} {floor}L{corners[0][0]:g} {floor}Z"
