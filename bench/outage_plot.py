"""The picture of an outage, with a breaker and without: calls to the service, and the tasks that wait."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.outage_figures import closed_at, dead
from bench.outage_run import Run

_OURS, _PLAIN = "#0b7a75", "#d1495b"
_INK, _GREY, _SHADE = "#22303c", "#8a97a3", "#f3e3e1"
_EVERY = 4
"""Of the samples, some twenty a second, this many make one point of a line."""
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": "#c5ced6",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8edf1",
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "celery-breaker",
}


def draw(guarded: Run, plain: Run, path: Path) -> None:
    """Write the picture; second 0 of each run is when its service went down."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10.0, 6.4))
        calls, waiting = figure.subplots(2, 1, sharex=True, gridspec_kw={"hspace": 0.28})
        figure.subplots_adjust(left=0.08, right=0.97, top=0.86, bottom=0.08)
        scenario = guarded.scenario
        for panel in (calls, waiting):
            panel.axvspan(0, guarded.up_at - guarded.down_at, color=_SHADE, lw=0, zorder=0)
        _calls(calls, plain, _PLAIN, "autoretry_for and retry_backoff")
        _calls(calls, guarded, _OURS, "with celery-breaker")
        calls.set_title("Calls to the service, per second", loc="left", size=10.5)
        calls.legend(loc="upper left")
        _waiting(waiting, guarded, plain)
        waiting.set_xlabel("seconds since the service went down", color=_GREY)
        waiting.set_xlim(-scenario.before, max(run.samples[-1].at - run.down_at for run in (guarded, plain)))
        figure.text(0.08, 0.945, _title(guarded), size=14, weight="bold")
        figure.savefig(path, metadata={"Date": None})


def _title(run: Run) -> str:
    return f"An outage of {run.scenario.outage:.0f} s and a backlog of {run.scenario.backlog:,} tasks"


def _calls(panel: Axes, run: Run, colour: str, words: str) -> None:
    """The calls of each second, as an outline that ends on the ground."""
    counts = Counter(int((call.at - run.down_at) // 1) for call in run.calls)
    seconds = range(min(counts), max(counts) + 2)
    heights = [counts[second] for second in seconds]
    label = f"{words}: {dead(run).all:,} calls to the dead service"
    panel.fill_between(seconds, heights, step="post", color=colour, alpha=0.2, lw=0)
    panel.step(seconds, heights, where="post", color=colour, lw=1.5, label=label)
    panel.set_ylim(bottom=0)


def _waiting(panel: Axes, guarded: Run, plain: Run) -> None:
    """Messages over time; the parked ones apart, for they cost the workers nothing."""
    for run, colour in ((plain, _PLAIN), (guarded, _OURS)):
        samples = run.samples[::_EVERY]
        times = [sample.at - run.down_at for sample in samples]
        held = [sample.queued + sample.in_hand for sample in samples]
        panel.plot(times, held, color=colour, lw=1.5, label="in the queue or in a worker's hand")
        if run is guarded:
            parked = [sample.parked for sample in samples]
            panel.plot(times, parked, color=colour, lw=1.5, ls=(0, (4, 2)), label="parked")
    closed = closed_at(guarded) - guarded.down_at
    panel.axvline(closed, color=_OURS, lw=0.8, ls=":")
    words: dict[str, Any] = {
        "color": _OURS,
        "size": 8.5,
        "va": "bottom",
        "ha": "center",
        "transform": panel.get_xaxis_transform(),
    }
    panel.text(closed, 1.01, "breaker closes", **words)
    panel.set_ylim(bottom=0)
    panel.set_title("Tasks that wait", loc="left", size=10.5)
    panel.legend(loc="center", bbox_to_anchor=(0.4, 0.4))
