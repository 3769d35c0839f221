"""Rows 6, 7 and 8: an outage under two and eight workers, with a short visibility timeout, and without a breaker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.outage_figures import dead, lost, recovery, retrips, run_twice, spent
from bench.outage_plot import draw
from bench.outage_run import Arm, Run, Scenario, ride_out
from bench.outage_tasks import NAIVE
from bench.rows import Row

MEASURES = (
    "Rows 6, 7 and 8: a service goes down under real workers on Redis (each arm has servers and workers of its own). "
    "A call takes 10 ms while it is up, and fails after 50 ms while it is down. 5,000 tasks arrive in the moment it "
    "goes down, and 10 more each second, before, during and after. The tasks have `autoretry_for` and "
    "`retry_backoff=True`; the breaker has `consecutive_failures=5`, `recovery_timeout=5`, `max_recovery_timeout=10` "
    "and else defaults. With eight workers each has one pool process, so that two cores can carry them. The service "
    "logs each call. A task that never reached the live service is lost, one that did so more than once ran twice, "
    "and one that had more retries behind it than failed calls of its own spent them by deferral. The backlog is "
    "drained when every task that was owed as the breaker closed is served, fresh ones beside it; capacity is what "
    "the same workers do of the same tasks without a breaker, mean of before and after, but no more than slots ÷ 10 "
    "ms."
)

TWO = Arm(name="2 workers × 2")
EIGHT = Arm(name="8 workers × 1", workers=8, concurrency=1)
SHORT = Arm(name="2 workers × 2, visibility timeout 20 s", visibility_timeout=20)
PLAIN = Arm(name="2 workers × 2, no breaker", task=NAIVE)

QUICK = Scenario(
    backlog=300,
    before=2.0,
    outage=6.0,
    options={"consecutive_failures": 5, "recovery_timeout": 1},
    trial=300,
)

FEWER = 100
"""How many times fewer calls than without a breaker."""
SLACK = 1.5
"""How many times longer than at full capacity the backlog may take."""

_runs: list[Run] = []


def rows(quick: bool) -> list[Row]:
    """Each arm rides out the outage once. How many times fewer, and how fast, has a bar in the long form only."""
    short = replace(SHORT, name="2 workers × 2, visibility timeout 4 s", visibility_timeout=4) if quick else SHORT
    scenario = QUICK if quick else Scenario()
    _runs[:] = [ride_out(arm, scenario) for arm in (TWO, PLAIN, EIGHT, short)]
    guarded = [run for run in _runs if run.arm.task != NAIVE]
    plain = next(run for run in _runs if run.arm.task == NAIVE)
    return [
        *(_calls(run) for run in guarded),
        _fewer(guarded[0], plain, bar=not quick),
        *(_tasks(run) for run in guarded),
        _tasks_without_bar(plain),
        *(_ramp(run) for run in guarded),
        *(_drain(run, bar=not quick) for run in guarded),
        _burst(plain),
    ]


def plot(folder: Path) -> None:
    """Draw the last run, with and without a breaker; nothing if it failed."""
    if _runs:
        draw(_runs[0], _runs[1], folder / "bench-outage.svg")


def _calls(run: Run) -> Row:
    found = dead(run)
    return Row(
        number=6,
        what=f"calls to the dead service after the trip, {run.arm.name}",
        figure=f"{found.at_trip} in flight + {found.probes} in {found.intervals} open intervals",
        bar=f"≤ {run.arm.slots} + {found.intervals}",
        met=found.at_trip <= run.arm.slots and found.probes <= found.intervals and found.intervals > 0,
        note=f"{found.all} with those that tripped it",
    )


def _fewer(guarded: Run, plain: Run, *, bar: bool) -> Row:
    ours, theirs = dead(guarded).all, dead(plain).all
    return Row(
        number=6,
        what="calls of the whole outage, without a breaker ÷ with one, 2 workers × 2",
        figure=f"{theirs / ours:.0f}",
        bar=f"≥ {FEWER}" if bar else "",
        met=theirs >= FEWER * ours if bar else None,
        note=f"{theirs:,} ÷ {ours}",
    )


def _tasks(run: Run) -> Row:
    figures = (lost(run), run_twice(run), spent(run))
    return Row(
        number=7,
        what=f"lost, run twice, retries spent by deferral, {run.arm.name}",
        figure="{}, {}, {}".format(*figures),
        bar="0, 0, 0",
        met=figures == (0, 0, 0),
        note=f"of {len(run.sent):,} tasks, {max(sample.parked for sample in run.samples):,} parked at most",
    )


def _tasks_without_bar(run: Run) -> Row:
    return replace(_tasks(run), bar="", met=None, note=f"of {len(run.sent):,} tasks")


def _ramp(run: Run) -> Row:
    back, again = recovery(run), retrips(run)
    return Row(
        number=8,
        what=f"most backlog calls ÷ what the ramp allows by then; re-trips, {run.arm.name}",
        figure=f"{back.of_ramp:.2f}; {again}",
        bar="≤ 1; 0",
        met=0 < back.of_ramp <= 1 and again == 0,
        note=f"at most {back.peak:.0f} calls/s in any half second",
    )


def _drain(run: Run, *, bar: bool) -> Row:
    back = recovery(run)
    return Row(
        number=8,
        what=f"time to drain ÷ (backlog ÷ capacity), {run.arm.name}",
        figure=f"{back.seconds / back.ideal:.2f}",
        bar=f"≤ {SLACK}" if bar else "",
        met=back.seconds <= SLACK * back.ideal if bar else None,
        note=f"{back.backlog:,} tasks in {back.seconds:.1f} s; capacity {back.backlog / back.ideal:.0f}/s; "
        f"closed {back.waited:.1f} s after the service's return",
    )


def _burst(run: Run) -> Row:
    back = recovery(run)
    return Row(
        number=8,
        what=f"most calls/s after recovery, {run.arm.name}",
        figure=f"{back.peak:.0f}",
        bar="",
        met=None,
        note=f"{back.of_ramp:.0f} × what the ramp would allow by then",
    )
