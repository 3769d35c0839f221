"""A page as parts, each drawn anew only when what it shows has changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Drawing", "Part", "Trace"]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a page.

    Attributes:
        shows: differs when it is to be drawn anew.
        draw: makes its HTML, given the store's clock.
    """

    shows: object
    draw: Callable[[float], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A page at one moment: its parts by id, and the rows of its list, in order, by the names of their breakers.

    Attributes:
        rows: ``None`` if it has no list.
        looks: how each breaker looks that is watched on it; changes of these are spoken.
    """

    title: str
    parts: Mapping[str, Part]
    rows: Mapping[str, Part] | None = None
    looks: Mapping[str, str] = field(default_factory=dict)

    def html(self, now: float) -> dict[str, str]:
        """All parts as HTML."""
        return {name: part.draw(now) for name, part in self.parts.items()}

    def row_html(self, now: float) -> list[str]:
        """All rows as HTML."""
        return [part.draw(now) for part in (self.rows or {}).values()]


class Trace:
    """What was sent of a page, so that only what is new is sent next. Not thread-safe.

    Args:
        looks: of the breakers on it when somebody came who was sent the whole.
    """

    def __init__(self, looks: Mapping[str, str] | None = None) -> None:
        self._title = ""
        self._parts: dict[str, object] = {}
        self._rows: dict[str, object] | None = None
        self._looks = looks or {}

    def new(self, drawing: Drawing, now: float) -> str:
        """What is new, as one line of JSON; empty if nothing is."""
        fresh: dict[str, object] = {}
        if drawing.title != self._title:
            fresh["title"] = drawing.title
        fresh |= _some("parts", _changed(drawing.parts, self._parts, now))
        if drawing.rows is not None:
            known = self._rows or {}
            fresh |= _some("rows", _changed(drawing.rows, known, now))
            if self._rows is None or list(drawing.rows) != list(known):
                fresh["order"] = list(drawing.rows)
            self._rows = {name: part.shows for name, part in drawing.rows.items()}
        if self._looks and (said := _said(self._looks, drawing.looks)):
            fresh["say"] = said
        self._title, self._looks = drawing.title, drawing.looks
        self._parts = {name: part.shows for name, part in drawing.parts.items()}
        return json.dumps({"now": now, **fresh}, separators=(",", ":")) if fresh else ""


def _some(key: str, found: dict[str, str]) -> dict[str, object]:
    return {key: found} if found else {}


def _changed(parts: Mapping[str, Part], before: Mapping[str, object], now: float) -> dict[str, str]:
    nothing = object()
    return {name: part.draw(now) for name, part in parts.items() if before.get(name, nothing) != part.shows}


def _said(before: Mapping[str, str], after: Mapping[str, str], most: int = 3) -> str:
    """Which breakers look otherwise than before, for who listens; short, for it interrupts."""
    changed = [f"{name} is {look}" for name, look in after.items() if before.get(name, look) != look]
    more = f", and {len(changed) - most} more changed" if len(changed) > most else ""
    return ", ".join(changed[:most]) + more
