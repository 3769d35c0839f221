"""What the ``celery breaker`` commands do."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from celery_breaker.core.record import Mode
from celery_breaker.plugin.cli import format as show
from celery_breaker.plugin.cli import watch as watching
from celery_breaker.plugin.cli.options import assignments
from celery_breaker.plugin.cli.session import opened
from celery_breaker.status import Desk, Status, actions, urgent_first
from celery_breaker.status.words import sentence, tasks

if TYPE_CHECKING:
    from celery.bin.base import CLIContext

__all__ = [
    "auto", "close", "override", "purge", "release", "reset", "set_options", "show_all", "show_one", "unset_options",
    "watch",
]  # fmt: skip


_REFUSES = 3
"""Exit code of ``status`` for a breaker that does not admit calls."""


# --- looking ----------------------------------------------------------------------------------------------------------


def show_all(context: CLIContext, *, as_json: bool) -> None:
    """Print all breakers."""
    with opened(context) as desk:
        statuses = urgent_first(desk.statuses())
        if as_json:
            click.echo(show.as_json([status.as_dict() for status in statuses]))
        elif statuses:
            click.echo("\n".join(show.table(statuses, colour=_colour(context), width=watching.width())))
        else:
            templates = ", ".join(desk.catalogue.declared)
            click.echo(
                f"No breaker has a record yet; declared: {templates}" if templates else "No breaker is declared."
            )
        if private := desk.private_names():
            click.echo(f"Not shown, each worker keeps its own (scope='worker'): {', '.join(private)}", err=True)


def show_one(context: CLIContext, name: str, *, as_json: bool) -> int:
    """Print one breaker; the exit code says whether a call may be made, be it as a probe."""
    with opened(context) as desk:
        desk.require(name)
        [status] = desk.statuses([name])
    click.echo(show.as_json(status.as_dict()) if as_json else "\n".join(show.detail(status, colour=_colour(context))))
    return 0 if status.retry_after == 0 else _REFUSES


def watch(context: CLIContext, *, interval: float, as_json: bool) -> None:
    """Show all breakers until interrupted."""
    with opened(context) as desk:
        if as_json:
            view: watching.View = watching.JsonLines()
        elif sys.stdout.isatty():
            view = watching.Screen(desk.url, colour=_colour(context))
        else:
            view = watching.Lines()
        watching.follow(desk, view, interval=interval)


def _colour(context: CLIContext) -> bool:
    return sys.stdout.isatty() and not getattr(context, "no_color", False)


# --- steering ---------------------------------------------------------------------------------------------------------


def override(
    context: CLIContext,
    names: Sequence[str],
    mode: str,
    *,
    reason: str,
    expires: float | None,
    create: bool,
    as_json: bool,
) -> None:
    """Put an operator's word over the state."""
    action = actions.force(Mode(mode), by=_operator(), reason=reason, expires_in=expires)
    _act(context, names, action, create=create, as_json=as_json)


def auto(context: CLIContext, names: Sequence[str], *, as_json: bool) -> None:
    """Lift the override."""
    _act(context, names, actions.auto(by=_operator()), as_json=as_json)


def close(context: CLIContext, names: Sequence[str], *, reason: str, as_json: bool) -> None:
    """Close by hand."""
    _act(context, names, actions.close(by=_operator(), reason=reason), as_json=as_json)


def reset(context: CLIContext, names: Sequence[str], *, reason: str, as_json: bool) -> None:
    """Back to a fresh breaker."""
    _act(context, names, actions.reset(by=_operator(), reason=reason), as_json=as_json)


def set_options(context: CLIContext, name: str, options: Sequence[str], *, as_json: bool) -> None:
    """Set options of the policy."""
    with opened(context) as desk:
        given = assignments(options, what="")
        desk.require(name)
        desk.tune(name, given, by=_operator())  # type: ignore[arg-type]  # it checks every value
        statuses = desk.statuses([name])
    _tell(statuses, as_json=as_json)


def unset_options(context: CLIContext, name: str, options: Sequence[str], *, as_json: bool) -> None:
    """Go back to the app's own values."""
    _act(context, [name], actions.untune(options, by=_operator()), as_json=as_json)


def _act(
    context: CLIContext, names: Sequence[str], action: actions.Action, *, create: bool = False, as_json: bool
) -> None:
    """Check all names, then change one after the other, then show what came of it."""
    names = list(dict.fromkeys(names))
    with opened(context) as desk:
        for name in names:
            desk.require(name, create=create)
        for name in names:
            desk.act(name, action)
        statuses = desk.statuses(names)
    _tell(statuses, as_json=as_json)


def _tell(statuses: Sequence[Status], *, as_json: bool) -> None:
    """Show what came of it."""
    if as_json:
        click.echo(show.as_json([status.as_dict() for status in statuses]))
    else:
        click.echo("\n".join(sentence(status) for status in statuses))


def _operator() -> str:
    """Who is at the keyboard, as user@host; a container may know no user's name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


# --- parked tasks -----------------------------------------------------------------------------------------------------


def release(context: CLIContext, name: str, *, count: int | None, as_json: bool) -> None:
    """Put parked tasks back into their queues, at once."""
    with opened(context, local=True) as desk:
        desk.require(name, private=True)
        _warn_if_refusing(desk, name)
        waiting = desk.yard.size(name)
        released = desk.release(name, count, by=_operator()) if waiting else 0
        left = desk.yard.size(name)
    if as_json:
        click.echo(show.as_json({"name": name, "released": released, "parked": left}))
    else:
        click.echo(f"{name}: {tasks(released)} released, {left:,} parked" if waiting else f"{name}: nothing is parked")


def _warn_if_refusing(desk: Desk, name: str) -> None:
    if not desk.shared or name in desk.private_names():
        return
    [status] = desk.statuses([name], patience=0)
    if not status.admits:
        click.echo(f"Warning: {sentence(status)}; until that changes, its tasks are parked again.", err=True)


def purge(context: CLIContext, name: str, *, force: bool, as_json: bool) -> None:
    """Delete parked tasks."""
    with opened(context, local=True) as desk:
        desk.require(name, private=True)
        parked = desk.yard.size(name)
        if parked and not force:
            click.confirm(f"Delete {tasks(parked)} parked by {name!r}? They will never run.", abort=True, err=True)
        purged = desk.purge(name, by=_operator()) if parked else 0
    if as_json:
        click.echo(show.as_json({"name": name, "purged": purged}))
    else:
        click.echo(f"{name}: {tasks(purged)} deleted" if parked else f"{name}: nothing is parked")
