"""How ``celery breaker`` shows things: pure functions from a status to text."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from celery_breaker.core.record import Mode, State
from celery_breaker.status import Status
from celery_breaker.status.words import (
    STATES,
    human,
    next_call,
    override_words,
    parked_words,
    plain,
    state_words,
    tuning_words,
)

__all__ = ["as_json", "change_key", "detail", "table"]

_NARROWEST = 20
"""Characters that the last column keeps, however narrow the terminal."""


def change_key(status: Status) -> object:
    """Differs when there is something new to say."""
    override = (status.override_reason, status.override_by, status.override_expires_in is None)
    return status.state, status.mode, status.generation, status.draining, override, tuple(status.tuning.items())


def as_json(value: object, *, line: bool = False) -> str:
    """One JSON document; on one line if asked."""
    return json.dumps(value, indent=None if line else 2)


# --- parts ------------------------------------------------------------------------------------------------------------


def _colour(status: Status) -> str:
    if not status.admits:
        return "yellow" if status.mode == Mode.AUTO and status.state == State.HALF_OPEN else "red"
    return "green" if status.mode == Mode.AUTO else "cyan"


def _why(status: Status) -> str:
    if status.mode != Mode.AUTO:
        return override_words(status)
    if status.state != State.CLOSED:
        return plain(status.reason)
    return f"parked tasks go back, {status.release_rate:g}/s" if status.returning else ""


# --- wholes -----------------------------------------------------------------------------------------------------------


_HEADINGS = ("BREAKER", "STATE", "FOR", "NEXT CALL", "FAILED", "PARKED", "WHY")
_RIGHT = ("FAILED", "PARKED")


def _row(status: Status) -> tuple[str, ...]:
    hidden = status.mode in (Mode.FORCED_OPEN, Mode.DISABLED)
    lasted = "" if status.since is None or hidden else human(status.since)
    failed = f"{status.failures} of {status.calls}" if status.calls else "0"
    return (
        plain(status.name),
        state_words(status),
        lasted,
        next_call(status),
        failed,
        parked_words(status),
        _why(status),
    )


def table(statuses: Sequence[Status], *, colour: bool = False, width: int | None = None) -> list[str]:
    """Lines of a table. ``width`` cuts the last column to the terminal's."""
    rows = [_HEADINGS, *(_row(status) for status in statuses)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEADINGS))]
    if width is not None:
        widths[-1] = min(widths[-1], max(_NARROWEST, width - sum(widths[:-1]) - 2 * (len(widths) - 1)))
    lines = []
    for index, row in enumerate(rows):
        cells = [_cell(text, place, widths[place]) for place, text in enumerate(row)]
        if colour:
            cells = _coloured(cells, statuses[index - 1] if index else None)
        lines.append("  ".join(cells).rstrip())
    return lines


def _cell(text: str, place: int, width: int) -> str:
    if len(text) > width:
        text = text[: width - 1] + "…"
    return text.rjust(width) if _HEADINGS[place] in _RIGHT else text.ljust(width)


def _coloured(cells: list[str], status: Status | None) -> list[str]:
    if status is None:
        return [click.style(cell, bold=True) for cell in cells]
    return [cells[0], click.style(cells[1], fg=_colour(status)), *cells[2:]]


def detail(status: Status, *, colour: bool = False) -> list[str]:
    """Lines with all that is known of one breaker."""
    state = state_words(status)
    known = {
        "why": plain(status.reason),
        "override": override_words(status),
        "state": STATES[State(status.state)] if status.mode != Mode.AUTO else "",
        "for": human(status.since) if status.since is not None else "",
        "next call": next_call(status),
        "last fault": f"{human(status.time_since_fault)} ago" if status.time_since_fault is not None else "",
        "trips": f"{status.trips} without recovery" if status.trips and status.state != State.CLOSED else "",
        "window": f"{status.calls} calls, {status.failures} failed, {status.slow} slow",
        "set": tuning_words(status),
        "failed on": plain(", ".join(f"{worker}: {count}" for worker, count in sorted(status.workers.items()))),
        "parked": parked_words(status) + (f", going back at {status.release_rate:g}/s" if status.returning else ""),
    }
    heading = f"{plain(status.name)}: {click.style(state, fg=_colour(status)) if colour else state}"
    return [heading, *(f"  {label:<11} {text}" for label, text in known.items() if text)]
