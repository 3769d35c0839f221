"""A simulation as a picture. Needs matplotlib, which nothing else in this package does."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from celery_breaker.core.record import State
from celery_breaker.errors import ConfigurationError
from celery_breaker.simulation.report import Report

__all__ = ["FORMATS", "check_plot", "plot"]

FORMATS = (".svg", ".png", ".pdf")
"""What a picture's name may end in."""

_WITH, _WITHOUT = "#0b7a75", "#d1495b"
_COLOURS = {State.CLOSED: "#7fbf9b", State.OPEN: "#c0392b", State.HALF_OPEN: "#e9b44c"}


def check_plot(path: Path) -> None:
    """Raise `ConfigurationError` unless a picture can be drawn under this name; before the work, not after."""
    if path.suffix.lower() not in FORMATS:
        raise ConfigurationError(f"{path.name!r} must end in one of {', '.join(FORMATS)}")
    if not path.absolute().parent.is_dir():
        raise ConfigurationError(f"there is no folder {str(path.absolute().parent)!r}")
    _matplotlib()


def _matplotlib() -> Any:
    """Only the part that draws to files; it opens no window."""
    try:
        return importlib.import_module("matplotlib.figure")
    except ImportError:
        raise ConfigurationError("drawing a picture needs matplotlib; install it: pip install matplotlib") from None


def plot(path: Path, title: str, report: Report, *, without: Report) -> None:
    """Draw calls and waiting tasks over time, with a breaker and without one.

    Raises:
        ConfigurationError: see `check_plot`.
        OSError: the file cannot be written.
    """
    figure = _matplotlib().Figure(figsize=(9.0, 6.4), layout="constrained")
    strip, failed, succeeded, waiting = figure.subplots(
        4, 1, sharex=True, gridspec_kw={"height_ratios": [0.2, 1, 1, 1]}
    )
    figure.suptitle(title)
    _states(strip, report)
    _lines(failed, "failed calls/s", _rates(report, "failed"), _rates(without, "failed"), report.series.seconds)
    _lines(succeeded, "other calls/s", _rates(report, "succeeded"), _rates(without, "succeeded"), report.series.seconds)
    _lines(waiting, "waiting tasks", _waiting(report), _waiting(without), report.series.seconds)
    failed.legend(loc="upper right", frameon=False)
    waiting.set_xlabel("seconds")
    waiting.set_xlim(0, report.seconds)
    figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)


def _rates(report: Report, name: str) -> list[float]:
    return [value / report.series.seconds for value in getattr(report.series, name)]


def _waiting(report: Report) -> list[float]:
    return [parked + queued for parked, queued in zip(report.series.parked, report.series.queued, strict=True)]


def _lines(panel: Any, label: str, mine: list[float], other: list[float], step: float) -> None:
    for values, colour, name in ((other, _WITHOUT, "without a breaker"), (mine, _WITH, "with it")):
        panel.plot(
            [(place + 1) * step for place in range(len(values))], values, color=colour, label=name, linewidth=1.3
        )
    panel.set_ylabel(label)
    panel.set_ylim(bottom=0)
    panel.spines[["top", "right"]].set_visible(False)


def _states(panel: Any, report: Report) -> None:
    step = report.series.seconds
    for place, state in enumerate(report.series.states):
        panel.axvspan(place * step, (place + 1) * step, color=_COLOURS[State(state)], linewidth=0)
    panel.set_yticks([])
    panel.set_ylabel("state", rotation=0, ha="right", va="center")
