"""What the demo shows while it runs: a live view on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.arm import Arm
from demo.scenario import Scenario

STATE_STYLES = {"closed": "green", "open": "bold red", "half_open": "bold yellow"}
_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH = 24
_NARROW = 100
"""Columns below which the two arms go one below the other."""
_LINE_EVERY = 2.0


Show = Callable[[Sequence[Arm], float], None]
"""Shows the arms, some seconds after the first order."""


@contextmanager
def screen(console: Console, scenario: Scenario) -> Iterator[Show]:
    """The live view if the console is a terminal, else plain lines, for the length of a ``with`` block."""
    if not console.is_terminal:
        yield PlainLines(console, scenario)
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda arms, elapsed: live.update(_picture(scenario, arms, elapsed, console.width), refresh=True)


def sparkline(values: Sequence[float]) -> str:
    """The values as a row of little bars, scaled to the largest."""
    top = max(values, default=0) or 1
    return "".join(_BARS[round(value / top * (len(_BARS) - 1))] for value in values)


class PlainLines:
    """One line for each arm every two seconds."""

    def __init__(self, console: Console, scenario: Scenario) -> None:
        """Print to `console`."""
        self._console, self._scenario = console, scenario
        self._next = 0.0

    def __call__(self, arms: Sequence[Arm], elapsed: float) -> None:
        """Print, if it is time for a line."""
        if elapsed < self._next:
            return
        self._next = elapsed + _LINE_EVERY
        for arm in arms:
            facts = ", ".join(f"{label} {value}" for label, value, _ in figures(arm))
            line = f"{elapsed:3.0f} s  {self._scenario.phase(elapsed):<16}  {arm.kind.title:<19}  {facts}"
            self._console.print(line, soft_wrap=True, highlight=False, markup=False)


def _picture(scenario: Scenario, arms: Sequence[Arm], elapsed: float, width: int) -> RenderableType:
    """Both arms under the timeline, side by side if there is room."""
    if width < _NARROW:
        return Group(_timeline(scenario, elapsed), *(_panel(arm) for arm in arms))
    panels = Table.grid(expand=True, padding=(0, 1))
    for _ in arms:
        panels.add_column(ratio=1)
    panels.add_row(*(_panel(arm) for arm in arms))
    return Group(_timeline(scenario, elapsed), panels)


def figures(arm: Arm) -> list[tuple[str, str, str]]:
    """How one arm stands, as (label, value, style)."""
    record = arm.record
    sample = record.samples[-1] if record.samples else None
    queued, parked = (sample.queued, sample.parked) if sample else (0, 0)
    rows = [
        ("mails sent", str(len(record.placed)), ""),
        ("delivered", str(len(record.copies)), "green"),
        ("not delivered", str(record.undelivered), "yellow" if record.undelivered else ""),
    ]
    if arm.kind.has_breaker:
        rows.append(("parked", str(parked), "cyan" if parked else ""))
        rows.append(("breaker", *_breaker(arm)))
    else:
        rows.append(("queued or retrying", str(queued), "cyan" if queued else ""))
        rows.append(("breaker", "none", "dim"))
    dead_calls = record.calls_to_dead_server()
    rows.append(("calls while it is down", str(dead_calls), "red" if dead_calls else ""))
    return rows


def _breaker(arm: Arm) -> tuple[str, str]:
    """The breaker's state with the time to the next probe, and its colour."""
    if not arm.record.states:
        return "not used yet", "dim"
    now = arm.record.states[-1]
    text = now.state.replace("_", "-")
    if now.next_probe is not None and now.state == "open":
        text += f", next probe in {max(0.0, now.next_probe - time.time()):.1f} s"
    return text, STATE_STYLES.get(now.state, "")


def _panel(arm: Arm) -> Panel:
    """One arm: its figures, and two little charts of the whole run so far."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(no_wrap=True)
    for label, value, style in figures(arm):
        grid.add_row(label, Text(value, style=style))
    grid.add_row("not delivered", Text(sparkline(_undelivered(arm)), style="yellow"))
    grid.add_row("calls", Text(sparkline(_calls(arm)), style="red"))
    style = "green" if arm.kind.has_breaker else "magenta"
    return Panel(grid, title=arm.kind.title, border_style=style)


def _undelivered(arm: Arm) -> list[float]:
    """Mails not delivered, sampled evenly enough to fit."""
    samples = arm.record.samples
    step = max(1, len(samples) // _WIDTH + 1)
    return [sample.undelivered for sample in samples[::step]]


def _calls(arm: Arm) -> list[float]:
    """Calls to the mail server, counted between the same moments."""
    samples = arm.record.samples
    step = max(1, len(samples) // _WIDTH + 1)
    edges = [sample.at for sample in samples[::step]]
    counts = [0.0] * len(edges)
    for at, _ in arm.record.calls:
        if edges and at >= edges[0]:
            counts[sum(edge <= at for edge in edges) - 1] += 1
    return counts


def _timeline(scenario: Scenario, elapsed: float) -> RenderableType:
    """The whole run as a bar: the outage in red, the present as a mark."""
    width = 40
    total = scenario.orders_for
    here = round(min(max(elapsed, 0.0), total) / total * (width - 1))
    bar = Text("  ")
    for column in range(width):
        at = column / (width - 1) * total
        colour = "red" if scenario.before <= at < scenario.back_at else "green"
        bar.append("●" if column == here else "━", style=f"bold {colour}" if column <= here else f"dim {colour}")
    bar.append(f"  {max(elapsed, 0):3.0f} s  ")
    phase = scenario.phase(elapsed)
    bar.append(phase, style="bold red" if phase.isupper() else "bold")
    return bar
