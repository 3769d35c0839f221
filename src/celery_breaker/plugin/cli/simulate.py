"""``celery breaker simulate``: a scenario from the command line, and what came of it as a table and a drawing."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, State
from celery_breaker.errors import ConfigurationError, suggestion
from celery_breaker.plugin.app import AppBreakers, breakers_of
from celery_breaker.plugin.cli.format import as_json
from celery_breaker.plugin.cli.options import assignments
from celery_breaker.plugin.cli.session import Failure, UnknownBreaker
from celery_breaker.settings import Derived
from celery_breaker.simulation import chart
from celery_breaker.simulation.plot import check_plot, plot
from celery_breaker.simulation.report import CLOSED, OPEN, Report
from celery_breaker.simulation.run import simulate
from celery_breaker.simulation.scenario import Fleet, Load, Outage, Scenario, Service
from celery_breaker.status.words import human, plain
from celery_breaker.stores.url import kind_of

if TYPE_CHECKING:
    from celery.bin.base import CLIContext

__all__ = ["Question", "run"]

_WIDTH = 80
"""Columns where the output is no terminal."""

_LABEL = 16
_MOST_CHANGES = 12
"""Changes of the state that are listed, the first and the last of them."""

_LEFT_OUT = ("admit_ramp", "defer_failures", "retry_budget")
"""Options that the simulation knows nothing of; each is off by default."""

_CONCURRENCY = 4
"""Slots of a worker where neither the command nor the app says; Celery itself takes one per core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was asked for on the command line; ``None`` where nothing was said."""

    name: str | None
    options: tuple[str, ...]
    rate: float
    latency: float
    down_latency: float
    failure_rate: float
    capacity: float | None
    outage: float | None
    outage_start: float | None
    workers: int
    concurrency: int | None
    backlog: int
    retries: int
    duration: float | None
    seed: int


def run(context: CLIContext, question: Question, *, json: bool, picture: Path | None) -> None:
    """Simulate with the breaker and without, and print both."""
    with _failures():
        if picture is not None:
            check_plot(picture)
        scenario = _scenario(context, question)
        report = simulate(scenario)
        without = simulate(replace(scenario, mode=Mode.DISABLED, duration=report.seconds))
        heading = _heading(question, scenario)
        if picture is not None:
            plot(picture, heading[0], report, without=without)
    if json:
        click.echo(as_json({"with": report.as_dict(), "without": without.as_dict()}))
        return
    lines = [*heading, "", *_table(report, without), "", *_changes(report), "", *_drawing(report, without, scenario)]
    click.echo("\n".join(lines))


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except ConfigurationError as exc:
        raise Failure(str(exc)) from exc
    except OSError as exc:
        raise Failure(f"the picture cannot be written: {exc}") from exc


# --- the scenario -------------------------------------------------------------------------------------------------


def _scenario(context: CLIContext, asked: Question) -> Scenario:
    context.app.loader.import_default_modules()
    breakers = breakers_of(context.app)
    policy = _policy(breakers, asked.name, assignments(asked.options, what="--option "))
    window = policy.window
    start = asked.outage_start or (20.0 if window.by_calls else window.span + 10.0)
    outages = () if asked.outage is None else (Outage(start=start, duration=asked.outage, latency=asked.down_latency),)
    if asked.name is not None and policy.scope == "fleet":
        _warn_of_what_is_not_shared(breakers.derived)
    return Scenario(
        policy=policy,
        fleet=_fleet(breakers, asked),
        service=Service(
            latency=asked.latency, failure_rate=asked.failure_rate, capacity=asked.capacity, outages=outages
        ),
        load=Load(rate=asked.rate, backlog=asked.backlog, retries=asked.retries),
        duration=asked.duration if asked.duration or outages else 60.0,
        seed=asked.seed,
    )


def _warn_of_what_is_not_shared(derived: Derived) -> None:
    """What is simulated is one breaker for all."""
    if not derived.shared:
        click.echo(f"Warning: workers of this app do not share their breakers ({derived.why}).", err=True)
    elif kind_of(derived.url) == "message":
        click.echo("Warning: with message:// each worker counts for itself, so the real ones trip later.", err=True)


def _fleet(breakers: AppBreakers, asked: Question) -> Fleet:
    conf, settings = breakers.app.conf, breakers.settings
    return Fleet(
        workers=asked.workers,
        concurrency=asked.concurrency or conf.worker_concurrency or _CONCURRENCY,
        prefetch=conf.worker_prefetch_multiplier,
        refresh_interval=settings.refresh_interval,
        tend_interval=settings.tend_interval,
        bus_delay=Fleet().bus_delay if settings.bus else None,
    )


def _policy(breakers: AppBreakers, name: str | None, options: Mapping[str, object]) -> Policy:
    """The policy of this breaker, or the defaults; what the command line says goes over it."""
    known = Policy() if name is None else _declared(breakers, name)
    fields = {field.name: getattr(known, field.name) for field in dataclasses.fields(known)}
    policy = Policy.from_options({**fields, **options})
    without = {name: getattr(Policy(), name) for name in _LEFT_OUT}
    if left_out := [name for name, default in without.items() if getattr(policy, name) != default]:
        click.echo(f"Not played through: {', '.join(left_out)}.", err=True)
    if policy.on_open == "pause":
        click.echo("on_open='pause' is played through as 'park'.", err=True)
    return dataclasses.replace(policy, **without)


def _declared(breakers: AppBreakers, name: str) -> Policy:
    policies = breakers.policies
    if not policies.knows(name):
        hint = suggestion(name, policies.declared, otherwise="leave the name out to try the defaults and --option")
        raise UnknownBreaker(f"no breaker {name!r} is declared{hint}")
    return policies.of(name)


# --- what came of it ----------------------------------------------------------------------------------------------


def _heading(question: Question, scenario: Scenario) -> list[str]:
    fleet, service, load = scenario.fleet, scenario.service, scenario.load
    who = plain(", ".join([question.name or "the default policy", *question.options]))
    work = f"{load.rate:g} tasks/s, calls of {service.latency:g} s"
    said = f"{who}: {_number(fleet.workers, 'worker')} of {_number(fleet.concurrency, 'slot')}, {work}"
    if not service.outages:
        return [said]
    [outage] = service.outages
    return [
        said,
        f"down from second {outage.start:g} for {human(outage.duration)}; a call fails after {outage.latency:g} s then",
    ]


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _table(report: Report, without: Report) -> list[str]:
    """Two columns of figures."""
    rows: list[tuple[str, str, str]] = [
        ("", "with", "without the breaker"),
        ("calls while it is down", f"{report.dead_calls:,}", f"{without.dead_calls:,}"),
        ("  after the trip, before all had heard", f"{report.late:,}", ""),
        ("  probes", f"{report.probes:,}", ""),
        ("tasks that failed for good", f"{report.tasks.failed + report.tasks.refused:,}", f"{without.tasks.failed:,}"),
        ("tasks not done at the end", f"{_left(report):,}", f"{_left(without):,}"),
        ("retries", f"{report.tasks.retries:,}", f"{without.tasks.retries:,}"),
        ("tasks set aside, at most at once", f"{report.most_parked or report.tasks.deferrals:,}", ""),
        ("trips; while the service was up", f"{report.trips}; {report.relapses}", ""),
        ("from the outage to the trip", _time(report.time_to_trip), ""),
        ("from its end to the close", _time(report.time_to_close), ""),
        ("from the close until all are done", _time(report.time_to_drain), ""),
        ("most calls per second afterwards", f"{report.peak_rate:,.0f}", f"{without.peak_rate:,.0f}"),
        ("store operations/s, closed; open", f"{_per_second(report, CLOSED)}; {_per_second(report, OPEN)}", ""),
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    return [f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}".rstrip() for row in rows]


def _left(report: Report) -> int:
    tasks = report.tasks
    return tasks.parked + tasks.waiting + tasks.delayed + tasks.running


def _time(seconds: float | None) -> str:
    return "never" if seconds is None else human(seconds)


def _per_second(report: Report, phase: str) -> str:
    each = report.per_worker(phase)
    return "-" if each is None else f"{each * report.workers:,.0f}"


def _changes(report: Report) -> list[str]:
    """The breaker's life, one change a line."""
    if not report.transitions:
        return ["The breaker does not trip."]
    lines = []
    for one in report.transitions:
        what = f"open for {human(one.until - one.at)}: {one.reason}" if one.after is State.OPEN else str(one.after)
        lines.append(f"{one.at:8.1f} s  {what.replace('_', '-')}")
    if len(lines) > _MOST_CHANGES:
        half = _MOST_CHANGES // 2
        lines[half:-half] = [f"{'':10}  and {len(lines) - 2 * half} more"]
    return lines


def _drawing(report: Report, without: Report, scenario: Scenario) -> list[str]:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH
    glyphs = _glyphs()
    series, other, step = report.series, without.series, report.series.seconds
    columns = max(10, width - _LABEL - 12)
    columns = min(columns, len(series.states))
    lines = [f"{'state':<{_LABEL}}{chart.strip(series.states, columns, glyphs=glyphs)}"]

    def line(label: str, values: Sequence[float], top: float, how: Callable[[Sequence[float]], float]) -> None:
        drawn = chart.curve(chart.shrink(values, columns, how), top=top, glyphs=glyphs)
        lines.append(f"{label:<{_LABEL}}{drawn:<{columns}}  {max(values, default=0):,.0f}")

    failed, failed_without = [value / step for value in series.failed], [value / step for value in other.failed]
    most = max([*failed, *failed_without], default=0.0)
    line("failed calls/s", failed, most, max)
    line("  without it", failed_without, most, max)
    line("other calls/s", [value / step for value in series.succeeded], max(series.succeeded, default=0) / step, max)
    line("set aside", series.parked, max(series.parked, default=0), max)
    line("in the queue", series.queued, max(series.queued, default=0), max)
    lines.append(_axis(report.seconds, columns))
    return lines


def _axis(seconds: float, columns: int) -> str:
    end = human(seconds)
    return f"{'':<{_LABEL}}0{end:>{max(1, columns - 1)}}"


def _glyphs() -> chart.Glyphs:
    """Blocks, unless the output cannot show them."""
    try:
        chart.BLOCKS.amounts.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return chart.ASCII
    return chart.BLOCKS
