"""A time series as text: one line per curve, as wide as asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from celery_breaker.core.record import State

__all__ = ["ASCII", "BLOCKS", "Glyphs", "curve", "shrink", "strip"]


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Characters for growing amounts, the first of them for nothing; and one for each state."""

    amounts: str
    states: dict[str, str]


BLOCKS = Glyphs(" ▁▂▃▄▅▆▇█", {State.CLOSED: "─", State.HALF_OPEN: "▒", State.OPEN: "█"})
ASCII = Glyphs(" .:-=+*#@", {State.CLOSED: "-", State.HALF_OPEN: "?", State.OPEN: "X"})

_URGENT = (State.HALF_OPEN, State.OPEN, State.CLOSED)
"""Of several states that share a column, the one that is shown: a half-open one is short, and would not be seen."""


def shrink(values: Sequence[float], columns: int, how: Callable[[Sequence[float]], float]) -> list[float]:
    """As many values as there are columns, each of the values that share it.

    Example:
        >>> shrink([1, 5, 2, 2], 2, max)
        [5, 2]
    """
    return [how(values[start:end]) for start, end in _shares(len(values), columns)]


def curve(values: Sequence[float], *, top: float, glyphs: Glyphs) -> str:
    """One character per value, the highest for ``top``; anything above 0 is seen.

    Example:
        >>> curve([0, 1, 50, 100], top=100, glyphs=ASCII)
        ' .=@'
    """
    highest = len(glyphs.amounts) - 1
    return "".join(_glyph(value, top, highest, glyphs.amounts) for value in values)


def _glyph(value: float, top: float, highest: int, amounts: str) -> str:
    if value <= 0 or top <= 0:
        return amounts[0]
    return amounts[min(max(1, round(value / top * highest)), highest)]


def strip(states: Sequence[str], columns: int, *, glyphs: Glyphs) -> str:
    """One character per column for the states that share it.

    Example:
        >>> strip(["closed", "closed", "open", "half_open"], 2, glyphs=ASCII)
        '-?'
    """
    shares = (set(states[start:end]) for start, end in _shares(len(states), columns))
    return "".join(next(glyphs.states[state] for state in _URGENT if state in share) for share in shares)


def _shares(size: int, columns: int) -> list[tuple[int, int]]:
    columns = max(1, min(columns, size))
    return [(place * size // columns, (place + 1) * size // columns) for place in range(columns)] if size else []
