"""``celery breaker watch``: a table that stays up to date, or a line for each change."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from typing import Protocol

import click

from celery_breaker.errors import StoreError
from celery_breaker.plugin.cli import format as show
from celery_breaker.status import Desk, Status, urgent_first
from celery_breaker.status.words import plain, sentence

__all__ = ["JsonLines", "Lines", "Screen", "View", "follow", "width"]

_SHORTEST = 0.1
"""Seconds between two looks at the store, at the least."""

_HOME, _REST_OF_LINE, _REST_OF_SCREEN, _ALL = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[2J"


def width() -> int | None:
    """Columns of the terminal, or ``None`` where the output is none and nothing need be cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


class View(Protocol):
    """Shows what `follow` sees."""

    def update(self, statuses: Sequence[Status]) -> None:
        """All breakers, as they are now."""
        ...

    def lost(self, reason: str) -> None:
        """The store cannot be reached; called each time that it is tried."""
        ...


def follow(desk: Desk, view: View, *, interval: float) -> None:
    """Look again and again until interrupted; a store that goes away is shown and waited for."""
    interval = max(interval, _SHORTEST)
    try:
        while True:
            started = time.monotonic()
            try:
                view.update(urgent_first(desk.statuses(patience=interval)))
            except StoreError as exc:
                view.lost(str(exc))
            time.sleep(max(0.0, started + interval - time.monotonic()))
    except KeyboardInterrupt:
        return


class _Changes:
    """Remembers what was shown, and says what is new."""

    def __init__(self) -> None:
        self._shown: dict[str, object] | None = None

    @property
    def first(self) -> bool:
        return self._shown is None

    def new(self, statuses: Sequence[Status]) -> list[Status]:
        """Those that changed since the last call; at the first call, all."""
        before, self._shown = self._shown or {}, {status.name: show.change_key(status) for status in statuses}
        return [status for status in statuses if before.get(status.name) != self._shown[status.name]]


class Lines:
    """The table once, then a line for each change."""

    def __init__(self) -> None:
        self._changes = _Changes()
        self._lost = False

    def update(self, statuses: Sequence[Status]) -> None:
        """See `View.update`."""
        if self._lost:
            self._lost = False
            self._say("the store is back")
        if self._changes.first:
            click.echo("\n".join(show.table(statuses)))
            self._changes.new(statuses)
        for status in self._changes.new(statuses):
            self._say(sentence(status))

    def lost(self, reason: str) -> None:
        """See `View.lost`; said once."""
        if not self._lost:
            self._lost = True
            self._say(f"the store cannot be reached: {reason}")

    def _say(self, text: str) -> None:
        click.echo(f"{_clock()}  {text}")


class JsonLines:
    """A line of JSON for each breaker, then one for each change."""

    def __init__(self) -> None:
        self._changes = _Changes()
        self._lost = False

    def update(self, statuses: Sequence[Status]) -> None:
        """See `View.update`."""
        self._lost = False
        for status in self._changes.new(statuses):
            click.echo(show.as_json(status.as_dict(), line=True))

    def lost(self, reason: str) -> None:
        """See `View.lost`; said once, on stderr."""
        if not self._lost:
            self._lost = True
            click.echo(f"the store cannot be reached: {reason}", err=True)


class Screen:
    """A table that is drawn over itself."""

    def __init__(self, url: str, *, colour: bool) -> None:
        self._url = url
        self._colour = colour
        self._statuses: Sequence[Status] = ()
        self._lost_at = ""
        self._drawn = False

    def update(self, statuses: Sequence[Status]) -> None:
        """See `View.update`."""
        self._statuses, self._lost_at = statuses, ""
        refusing = sum(not status.admits for status in statuses)
        self._draw(f"{_clock()}  {len(statuses)} breakers, {refusing} refuse calls  ({self._url}, Ctrl-C ends)")

    def lost(self, reason: str) -> None:
        """See `View.lost`; the last table stays."""
        self._lost_at = self._lost_at or _clock()
        self._draw(f"{_clock()}  as of {self._lost_at}, the store cannot be reached: {plain(reason)}", bad=True)

    def _draw(self, title: str, *, bad: bool = False) -> None:
        size = shutil.get_terminal_size()
        title = title[: size.columns]
        if bad and self._colour:
            title = click.style(title, fg="red")
        lines = [title, "", *show.table(self._statuses, colour=self._colour, width=size.columns)]
        text = "".join(f"{line}{_REST_OF_LINE}\n" for line in lines[: size.lines - 1])
        sys.stdout.write(("" if self._drawn else _ALL) + _HOME + text + _REST_OF_SCREEN)
        sys.stdout.flush()
        self._drawn = True


def _clock() -> str:
    return time.strftime("%H:%M:%S")
