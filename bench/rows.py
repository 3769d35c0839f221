"""What a benchmark hands back: one row of the table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line: `what` was measured, the `figure` reached, the `bar` it is held to and whether it was `met`.

    `met` is None where there is no bar and the figure is only shown.
    """

    number: int
    what: str
    figure: str
    bar: str
    met: bool | None
    note: str = ""
