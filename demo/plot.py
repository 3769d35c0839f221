"""The picture of a run: both arms over the same time axis, the outage shaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from demo.record import Record

COLOURS = {"breaker": "#0b7a75", "naive": "#d1495b"}
STATE_COLOURS = {"closed": "#7fbf9b", "open": "#c0392b", "half_open": "#e9b44c"}
_SIZE = (10.0, 8.2)
_LINE = 0.19
"""Height of a line of a label; both in inches."""
_INK, _GREY, _SHADE = "#22303c", "#8a97a3", "#f3e3e1"
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": "#c5ced6",
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8edf1",
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "svg.hashsalt": "celery-breaker",
}


@dataclass(frozen=True, slots=True)
class Curve:
    """One arm, as the plot needs it."""

    name: str
    title: str
    record: Record

    @property
    def colour(self) -> str:
        """Its colour in every panel."""
        return COLOURS[self.name]


def draw(curves: Sequence[Curve], start: float, directory: Path) -> list[Path]:
    """Write `demo.png` and `demo.svg` into `directory`; `start` (Unix time) becomes second 0."""
    directory.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        figure = _figure(curves, start)
        paths = [directory / "demo.png", directory / "demo.svg"]
        figure.savefig(paths[0], dpi=160)
        figure.savefig(paths[1], metadata={"Date": None})
    return paths


def _figure(curves: Sequence[Curve], start: float) -> Figure:
    """The panels, one below the other."""
    end = max(sample.at for curve in curves for sample in curve.record.samples) - start
    figure = Figure(figsize=_SIZE)
    axes = figure.subplots(4, 1, sharex=True, gridspec_kw={"height_ratios": [0.16, 2, 1.5, 1.5], "hspace": 0.32})
    figure.subplots_adjust(left=0.06, right=0.79, top=0.89, bottom=0.065)
    strip, delivered, calls, waiting = axes
    for panel in axes:
        _shade(panel, curves[0].record, start)
    _states(strip, curves, start, end)
    _delivered(delivered, curves, start, end)
    _name_the_outage(delivered, curves[0].record, start)
    _calls(calls, curves, start, end)
    _waiting(waiting, curves, start, end)
    waiting.set_xlim(0, end)
    waiting.xaxis.set_major_locator(MaxNLocator(integer=True))
    waiting.set_xlabel("seconds since the first order", color=_GREY)
    figure.text(0.06, 0.955, "One outage of a mail server, with and without celery-breaker", size=15, weight="bold")
    return figure


def _shade(panel: Axes, record: Record, start: float) -> None:
    """Shade the outage."""
    if record.went_down is not None and record.came_back is not None:
        panel.axvspan(record.went_down - start, record.came_back - start, color=_SHADE, lw=0, zorder=0)


def _name_the_outage(panel: Axes, record: Record, start: float) -> None:
    """Say what the shade means."""
    if record.went_down is not None and record.came_back is not None:
        middle = (record.went_down + record.came_back) / 2 - start
        words = f"mail server down for {record.came_back - record.went_down:.0f} s"
        panel.text(
            middle,
            0.93,
            words,
            ha="center",
            va="top",
            color=STATE_COLOURS["open"],
            size=9,
            style="italic",
            transform=panel.get_xaxis_transform(),
        )


def _states(panel: Axes, curves: Sequence[Curve], start: float, end: float) -> None:
    """The breaker's state as a coloured strip."""
    for record in (curve.record for curve in curves if curve.record.states):
        states = [*record.states, replace(record.states[-1], at=start + end)]
        for now, following in pairwise(states):
            colour = STATE_COLOURS.get(now.state, _GREY)
            panel.axvspan(now.at - start, following.at - start, color=colour, lw=0)
        tries = [at - start for at, _ in record.calls if _state_at(record, at) != "closed"]
        panel.plot(tries, [0.5] * len(tries), ls="", marker="o", ms=4.5, mfc="white", mec=_INK, mew=0.8)
    panel.set_ylim(0, 1)
    panel.set_yticks([])
    panel.grid(visible=False)
    panel.tick_params(bottom=False)
    for side in panel.spines.values():
        side.set_visible(False)
    for place, (state, colour) in zip((1.02, 1.1, 1.165), STATE_COLOURS.items(), strict=True):
        words = f"● {state.replace('_', '-')}"
        panel.text(place, 0.5, words, color=colour, transform=panel.transAxes, va="center", size=8.5)
    panel.set_title("State of the breaker, and its probes", loc="left", size=10.5)


def _state_at(record: Record, at: float) -> str:
    """The breaker's state at a Unix time, as last seen before."""
    return next((now.state for now in reversed(record.states) if now.at <= at), "closed")


def _delivered(panel: Axes, curves: Sequence[Curve], start: float, end: float) -> None:
    """Mails delivered so far, with the orders placed for comparison."""
    panel.set_title("Mails delivered", loc="left", size=10.5)
    placed = sorted(curves[0].record.placed.values())
    _climb(panel, placed, start, end, color=_GREY, lw=1.2, ls=(0, (3, 2)))
    labels = [(float(len(placed)), f"{len(placed)} orders placed", _GREY)]
    for curve in curves:
        first: dict[int, float] = {}
        for at, order in curve.record.mails:
            first.setdefault(order, at)
        _climb(panel, sorted(first.values()), start, end, color=curve.colour, lw=2.2)
        labels.append((float(len(first)), f"{curve.title}\n{len(first)} delivered", curve.colour))
    panel.set_ylim(0, len(placed) * 1.06)
    _label_ends(panel, labels)


def _calls(panel: Axes, curves: Sequence[Curve], start: float, end: float) -> None:
    """Calls to the mail server in each second."""
    panel.set_title("Calls to the mail server, per second", loc="left", size=10.5)
    edges = [float(second) for second in range(int(end) + 2)]
    for curve in sorted(curves, key=lambda curve: curve.name, reverse=True):
        times = [at - start for at, _ in curve.record.calls]
        panel.hist(times, edges, histtype="stepfilled", color=curve.colour, alpha=0.22, lw=0)
        panel.hist(times, edges, histtype="step", color=curve.colour, lw=1.6)
    panel.set_ylim(bottom=0)
    height = panel.get_ylim()[1]
    _label_ends(
        panel,
        [
            (height * (0.85 - 0.45 * row), f"{curve.title}\n{_count(curve)} to the dead server", curve.colour)
            for row, curve in enumerate(curves)
        ],
    )


def _count(curve: Curve) -> str:
    """Calls to the dead server, in words."""
    number = curve.record.calls_to_dead_server()
    return "1 call" if number == 1 else f"{number} calls"


def _waiting(panel: Axes, curves: Sequence[Curve], start: float, end: float) -> None:
    """Mails that are owed."""
    panel.set_title("Mails not delivered", loc="left", size=10.5)
    labels = []
    for curve in curves:
        samples = [sample for sample in curve.record.samples if sample.at >= start]
        times = [sample.at - start for sample in samples]
        values = [sample.undelivered for sample in samples]
        panel.plot(times, values, color=curve.colour, lw=2.2, clip_on=False)
        panel.fill_between(times, values, color=curve.colour, alpha=0.12, lw=0)
        left = curve.record.undelivered
        labels.append((float(left), f"{curve.title}\n{f'{left} lost' if left else 'none lost'}", curve.colour))
    panel.set_ylim(bottom=0)
    _label_ends(panel, labels)


def _climb(panel: Axes, times: Sequence[float], start: float, end: float, **style: object) -> None:
    """A curve that rises by one at each of the (sorted) times."""
    xs = [0.0, *(at - start for at in times), end]
    ys = [*range(len(times) + 1), len(times)]
    panel.plot(xs, ys, drawstyle="steps-post", clip_on=False, **style)  # type: ignore[arg-type]


def _label_ends(panel: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Write (height, words, colour) to the right of the panel, pushed apart where they would overlap."""
    bottom, top = panel.get_ylim()
    line = _LINE / (panel.get_position().height * _SIZE[1])
    below = 1.1
    for height, words, colour in sorted(labels, key=lambda label: -label[0]):
        need = line * (words.count("\n") + 1)
        middle = min((height - bottom) / (top - bottom), below - need / 2)
        middle = max(middle, need / 2 - 0.1)
        below = middle - need / 2
        panel.text(1.02, middle, words, color=colour, transform=panel.transAxes, va="center", size=9, linespacing=1.3)
