"""The table in the terminal, a few rows at a time."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.rows import Row

VERDICTS = {True: "met", False: "NOT MET", None: ""}
_COLOURS = {True: "green", False: "bold red", None: "dim"}
_WIDTH = 130


class Printed:
    """Prints rows as they come, in columns that stay where they are."""

    def __init__(self) -> None:
        self._console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
        self._headed = False

    def say(self, text: str) -> None:
        """A line between the rows."""
        self._console.print(text, style="dim", markup=False)

    def show(self, rows: Sequence[Row]) -> None:
        """Add rows, under the head if they are the first."""
        table = Table(show_header=not self._headed, box=None, padding=(0, 1), expand=True)
        table.add_column("#", width=2, justify="right")
        table.add_column("what", ratio=5)
        table.add_column("figure", ratio=4)
        table.add_column("bar", ratio=2)
        table.add_column("", width=7)
        table.add_column("note", ratio=5, style="dim")
        for row in rows:
            cells = (str(row.number), row.what, row.figure, row.bar)
            table.add_row(*map(_plain, cells), f"[{_COLOURS[row.met]}]{VERDICTS[row.met]}", _plain(row.note))
        self._console.print(table)
        self._headed = True


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
