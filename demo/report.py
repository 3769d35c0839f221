"""The verdict as a table: both arms side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo.arm import BREAKER, NAIVE
from demo.scenario import Scenario
from demo.verdict import Verdict


def recovery(verdict: Verdict) -> str:
    """How long the backlog took once the server was back, and what of it never came."""
    if verdict.backlog == 0:
        return "no backlog"
    lost = f"{verdict.backlog_lost} of {verdict.backlog} never" if verdict.backlog_lost else ""
    took = "" if verdict.recovery is None else f"{verdict.recovery:.1f} s"
    return "; ".join(part for part in (took, lost) if part)


ROWS: list[tuple[str, Callable[[Verdict], str]]] = [
    ("Mails sent", lambda verdict: str(verdict.placed)),
    ("Delivered once", lambda verdict: str(verdict.once)),
    ("Delivered twice or more", lambda verdict: str(verdict.twice)),
    ("Lost", lambda verdict: str(verdict.lost)),
    ("Calls to the dead server", lambda verdict: str(verdict.calls_to_dead_server)),
    ("Calls in all", lambda verdict: str(verdict.calls)),
    ("Recovery: server back to backlog delivered", recovery),
]


def print_verdicts(
    console: Console, scenario: Scenario, verdicts: Mapping[str, Verdict], plots: Sequence[Path]
) -> None:
    """Print the table, one sentence, and where the plots are."""
    title = f"A mail server down for {scenario.outage:g} s, {scenario.rate:g} orders per second"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("")
    for kind in (BREAKER, NAIVE):
        table.add_column(kind.title, justify="right")
    for label, value in ROWS:
        table.add_row(label, *(_cell(label, value(verdicts[kind.name])) for kind in (BREAKER, NAIVE)))
    console.print()
    console.print(table)
    console.print(_sentence(verdicts[BREAKER.name]))
    console.print("Plot: " + ", ".join(str(path) for path in plots), style="dim", soft_wrap=True, highlight=False)


def _cell(label: str, value: str) -> Text:
    """Red where mails were lost or doubled."""
    bad = label in ("Lost", "Delivered twice or more") and value != "0"
    return Text(value, style="bold red" if bad else "")


def _sentence(verdict: Verdict) -> Text:
    """The verdict on celery-breaker, in a line."""
    if verdict.exactly_once:
        words = f"✔ With celery-breaker each of the {verdict.placed} mails was delivered exactly once."
        return Text(words, style="bold green")
    return Text(f"✘ With celery-breaker: {verdict.lost} lost, {verdict.twice} more than once.", style="bold red")
