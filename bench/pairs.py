"""Interleaved measurements: every arm in each round, so that what disturbs the machine disturbs them alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The median of some figures, with their quartiles."""

    median: float
    low: float
    high: float
    count: int

    def __format__(self, spec: str) -> str:
        """``f"{spread:.2f}"`` → ``"0.98 [0.96, 1.01]"``."""
        return f"{self.median:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def spread(figures: Sequence[float]) -> Spread:
    """The spread of at least one figure."""
    low, _, high = statistics.quantiles(figures if len(figures) > 1 else [*figures] * 2, n=4, method="inclusive")
    return Spread(median=statistics.median(figures), low=low, high=high, count=len(figures))


def interleaved(arms: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, list[float]]:
    """Measure every arm once per round, in turn and then in reverse; the figures of each, by round."""
    figures: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(rounds):
        for name in list(arms) if number % 2 == 0 else reversed(list(arms)):
            figures[name].append(arms[name]())
    return figures


def ratio(above: Sequence[float], below: Sequence[float]) -> Spread:
    """The spread of the ratios, round by round."""
    return spread([a / b for a, b in zip(above, below, strict=True)])
