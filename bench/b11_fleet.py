"""Row 11: fleets of 10 to 10,000 workers, simulated on the functions that workers run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.rows import Row
from celery_breaker.core.policy import Policy
from celery_breaker.simulation.report import CLOSED, OPEN, Report
from celery_breaker.simulation.scenario import Fleet, Load, Outage, Scenario, Service
from celery_breaker.simulation.sweep import Run, fleet_table

MEASURES = (
    "A simulation, repeatable to the last figure: the default policy, 40 slots a worker, so that ten have enough for a "
    "thousand tasks a second and their retries, calls of 0.1 s; the service is down for two minutes, and a call fails "
    "after 0.05 s then, or after 10 s where it hangs. An announcement is taken to travel 10 ms, a round trip to the "
    "store 1 ms. Store operations are those of all workers together, divided by workers and seconds; the one that "
    "each failure costs before the trip is left out. Wasted are calls to the dead service that began after the trip: "
    "their number is limited whatever the size of the fleet, but a fleet of few workers stays below the limit."
)

SIZES = (10, 100, 1_000, 10_000)
RATES = (10.0, 100.0, 1_000.0)
HANG = 10.0

LINEAR, INDEPENDENT = 1.35, 1.35
"""Largest ÷ smallest figure of one worker, over all sizes and over all rates."""

_QUICK = ((10, 100, 1_000), (10.0, 100.0))
_SEEDS = (1, 2, 3)


def rows(quick: bool) -> list[Row]:
    """Operations by size and by rate, closed, open and while probes hang; wasted calls; recovery."""
    runs, hung = _runs(quick), _runs(quick, HANG)
    return [
        _linear("closed", runs, CLOSED),
        _linear("open", runs, OPEN),
        _independent("closed", runs, CLOSED),
        _independent("open", runs, OPEN),
        _independent(f"open, probes that hang for {HANG:g} s", hung, OPEN),
        _wasted(runs),
        _probes(runs),
        *_recovery(runs),
    ]


@cache
def _runs(quick: bool, down_latency: float = 0.05) -> tuple[Run, ...]:
    sizes, rates = _QUICK if quick else (SIZES, RATES)
    down = Service(outages=(Outage(start=70.0, duration=120.0, latency=down_latency),))
    base = Scenario(policy=Policy(), fleet=Fleet(concurrency=40), service=down, load=Load())
    seeds = _SEEDS if not quick and down_latency < HANG else _SEEDS[:1]  # only wasted calls are much up to chance
    return tuple(fleet_table(base, workers=sizes, rates=rates, seeds=seeds))


def _sizes(runs: Sequence[Run]) -> list[int]:
    return sorted({run.workers for run in runs})


def _rates(runs: Sequence[Run]) -> list[float]:
    return sorted({run.rate for run in runs})


def _mean(runs: Sequence[Run], what: Any, *, workers: int | None = None, rate: float | None = None) -> float:
    """Of one figure, over all runs of this size and rate."""
    chosen = [run for run in runs if workers in (None, run.workers) and rate in (None, run.rate)]
    return mean(what(run.report) for run in chosen)


def _operations(runs: Sequence[Run], phase: str, **which: Any) -> float:
    return _mean(runs, lambda report: report.per_worker(phase) or 0.0, **which)


def _linear(said: str, runs: Sequence[Run], phase: str) -> Row:
    ratios = []
    for rate in _rates(runs):
        each = [_operations(runs, phase, workers=size, rate=rate) for size in _sizes(runs)]
        ratios.append(max(each) / min(each))
    first, last = (_operations(runs, phase, workers=size) * size for size in (_sizes(runs)[0], _sizes(runs)[-1]))
    return Row(
        number=11,
        what=f"store operations, {said}: of one worker, largest fleet size ÷ smallest, at any rate",
        figure=f"{max(ratios):.2f}",
        bar=f"linear: ≤ {LINEAR:g}",
        met=max(ratios) <= LINEAR,
        note=f"simulated: {_sizes(runs)[0]:,} to {_sizes(runs)[-1]:,} workers, {first:,.0f}/s to {last:,.0f}/s",
    )


def _independent(said: str, runs: Sequence[Run], phase: str) -> Row:
    ratios = []
    for size in _sizes(runs):
        each = [_operations(runs, phase, workers=size, rate=rate) for rate in _rates(runs)]
        ratios.append(max(each) / min(each))
    few, many = (_operations(runs, phase, rate=rate) for rate in (_rates(runs)[0], _rates(runs)[-1]))
    return Row(
        number=11,
        what=f"store operations, {said}: most ÷ fewest at {_rates(runs)[0]:,.0f} to {_rates(runs)[-1]:,.0f} tasks/s",
        figure=f"{max(ratios):.2f}",
        bar=f"independent of the rate: ≤ {INDEPENDENT:g}",
        met=max(ratios) <= INDEPENDENT,
        note=f"simulated: of one worker {few:.2f}/s at the lowest rate, {many:.2f}/s at the highest",
    )


def _wasted(runs: Sequence[Run]) -> Row:
    """By size, at the highest rate: at most what begins while the news of the trip travels, and the probes."""
    rate, fleet = _rates(runs)[-1], Fleet()
    each = [_mean(runs, lambda report: report.wasted, workers=size, rate=rate) for size in _sizes(runs)]
    travels = (fleet.bus_delay or 0.0) + 3 * fleet.store_latency  # tally, swap, and the read that the news leads to
    begun = _mean(runs, _calls_at_trip, rate=rate) * travels + _mean(runs, lambda report: report.probes, rate=rate)
    chance = 3 * (begun / len({run.seed for run in runs})) ** 0.5  # calls begin at random
    return Row(
        number=11,
        what=f"calls to the dead service begun after the trip, at {rate:,.0f} tasks/s, by size of the fleet",
        figure=", ".join(f"{wasted:.1f}" for wasted in each),
        bar=f"whatever the size, ≤ the {begun:.1f} ± {chance:.1f} that begin while the news travels",
        met=max(each) <= begun + chance,
        note=f"simulated: {', '.join(f'{size:,}' for size in _sizes(runs))} workers; grows {max(each) / each[0]:.1f} × "
        "up to that limit, for workers that fail often see the trip for themselves, before they are told",
    )


def _calls_at_trip(report: Report) -> float:
    """Calls to the dead service in the last full second before the trip."""
    trip = next(one.at for one in report.transitions if str(one.after) == "open")
    return report.series.failed[int(trip) - 1]


def _probes(runs: Sequence[Run]) -> Row:
    most = max((one.probes, run.workers, run.rate) for run in runs for one in run.report.intervals)
    return Row(
        number=11,
        what="most probes of the dead service in one open interval",
        figure=f"{most[0]}",
        bar="≤ 1",
        met=most[0] <= 1,
        note=f"simulated: with {most[1]:,} workers at {most[2]:,.0f} tasks/s",
    )


def _recovery(runs: Sequence[Run]) -> list[Row]:
    late = [_lateness(run) for run in runs]
    relapses = sum(run.report.relapses for run in runs)
    left = sum(run.report.tasks.parked for run in runs)
    drained = [run.report.time_to_drain for run in runs]
    return [
        Row(
            number=11,
            what="from the probe's time to the close, once the service is back, longest",
            figure=f"{max(late):.2f} s",
            bar="≤ 1 s",
            met=max(late) <= 1.0,
            note=f"simulated: {len(runs)} fleets",
        ),
        Row(
            number=11,
            what="trips after recovery; tasks left parked",
            figure=f"{relapses}; {left}",
            bar="0; 0",
            met=relapses == left == 0 and None not in drained,
            note=f"simulated: the backlog is done {max(time or 0.0 for time in drained):.0f} s after the close at most",
        ),
    ]


def _lateness(run: Run) -> float:
    """Seconds from when the last open interval was over to the close."""
    *_, opened = [one for one in run.report.transitions if str(one.after) == "open"]
    return float("inf") if run.report.closed_at is None else run.report.closed_at - opened.until


# --- the picture ------------------------------------------------------------------------------------------------------


def plot(folder: Path, *, quick: bool = False) -> Path:
    """Draw operations and wasted calls over the size of the fleet; returns the file."""
    runs, path = _runs(quick), folder / "bench-11-fleet.svg"
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.stem}):
        figure = Figure(figsize=(10.0, 3.6), layout="constrained")
        closed, opened, wasted = figure.subplots(1, 3, sharex=True)
        for panel, phase, title in ((closed, CLOSED, "closed"), (opened, OPEN, "open")):
            _draw(panel, runs, lambda size, rate, phase=phase: size * _operations(runs, phase, workers=size, rate=rate))
            panel.set_yscale("log")
            panel.set_title(f"Store operations/s, {title}")
        _draw(wasted, runs, lambda size, rate: _mean(runs, lambda report: report.wasted, workers=size, rate=rate))
        wasted.set_title("Calls to the dead service\nbegun after the trip", fontsize="medium")
        wasted.set_ylim(bottom=0)
        closed.legend(title="tasks/s", frameon=False)
        figure.savefig(path, metadata={"Date": None})
    return path


def _draw(panel: Any, runs: Sequence[Run], figure: Any) -> None:
    colours = ("#0b7a75", "#e9b44c", "#d1495b")
    for rate, colour in zip(_rates(runs), colours, strict=False):
        values = [figure(size, rate) for size in _sizes(runs)]
        panel.plot(_sizes(runs), values, marker="o", markersize=4, color=colour, label=f"{rate:,.0f}", alpha=0.85)
    panel.set_xscale("log")
    panel.set_xlabel("workers")
    panel.grid(visible=True, color="#e8edf1")
    panel.spines[["top", "right"]].set_visible(False)
