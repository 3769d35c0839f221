"""`docs/benchmarks.md`: the table, what it was measured on, and how to repeat it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from bench.machine import machine, versions
from bench.rows import Row
from bench.table import VERDICTS

_HOW = """\
## How to repeat

```console
$ make services    # Debian: installs the servers, without starting them
$ make bench       # everything, in one run; writes this page
$ make bench ARGS="1 4"          # some rows, printed only
$ make bench ARGS="--quick"      # a look at the machinery: its figures mean nothing
```

Servers and workers are started on free ports and ended; nothing that runs already is touched. Nothing else should run
on the machine meanwhile. The peers come from PyPI at the versions above (`bench/requirements.txt`); one of them needs
Python 3.11.

What is compared is measured in turn in one run (A, B, B, A, …), and a ratio is taken within each round. Figures are
medians, with the quartiles in square brackets. Rows 6 to 9 are one outage (or one backlog) for each arm: five of each
would take hours.
"""


def write(
    folder: Path, rows: Sequence[Row], measures: Mapping[int, str], plots: Sequence[Path], minutes: float
) -> Path:
    """Write the page; returns where."""
    page = folder / "benchmarks.md"
    parts = [
        "# Benchmarks",
        f"Measured on {date.today():%-d %B %Y} in one run of {minutes:.0f} minutes. {_verdict(rows)}",  # noqa: DTZ011
        _table(rows),
        "## What each row measures",
        "\n".join(f"- **{number}.** {_one_line(text)}" for number, text in sorted(measures.items())),
        *([_pictures(plots)] if plots else []),
        "## Measured on",
        _listed(machine()),
        _listed(versions()),
        _HOW,
    ]
    page.write_text("\n\n".join(part.rstrip() for part in parts) + "\n")
    return page


def _verdict(rows: Sequence[Row]) -> str:
    held = [row for row in rows if row.met is not None]
    missed = [row for row in held if not row.met]
    if not missed:
        return f"All {len(held)} bars are met."
    return f"{len(held) - len(missed)} of {len(held)} bars are met."


def _table(rows: Sequence[Row]) -> str:
    lines = ["| # | what | figure | bar | | note |", "|--:|---|---|---|---|---|"]
    for row in rows:
        met = f"**{VERDICTS[row.met]}**" if row.met is False else VERDICTS[row.met]
        cells = (str(row.number), row.what, row.figure, row.bar, met, row.note)
        lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return _one_line(text).replace("|", r"\|")


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _pictures(plots: Sequence[Path]) -> str:
    return "## Plots\n\n" + "\n\n".join(f"![{plot.stem.removeprefix('bench-')}]({plot.name})" for plot in plots)


def _listed(facts: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())
