"""Plots as SVG with text that stays text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.pairs import Spread

_OURS, _OTHERS = "#2a6f97", "#a9b4bd"


@contextmanager
def drawn(path: Path, *, width: float = 7.5, height: float = 3.5) -> Iterator[Axes]:
    """Axes to draw on; the block's end writes the file."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.stem, "font.family": "sans-serif"}):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        yield axes
        figure.savefig(path, metadata={"Date": None})


def bars(path: Path, figures: Mapping[str, Spread], *, label: str, bar: float | None = None, log: bool = False) -> None:
    """One bar for each name, ours in colour, with quartiles; ``bar`` draws the line that ours is held to."""
    names = list(figures)
    medians = [figures[name].median for name in names]
    errors = [
        [figure.median - figure.low for figure in figures.values()],
        [figure.high - figure.median for figure in figures.values()],
    ]
    colours = [_OURS if "celery-breaker" in name else _OTHERS for name in names]
    with drawn(path, height=0.6 + 0.38 * len(names)) as axes:
        axes.barh(names, medians, xerr=errors, color=colours, ecolor="#333333", capsize=2)
        axes.invert_yaxis()
        axes.set_xlabel(label)
        if log:
            axes.set_xscale("log")
        if bar is not None:
            axes.axvline(bar, color="#c1121f", linewidth=1, linestyle="--")
