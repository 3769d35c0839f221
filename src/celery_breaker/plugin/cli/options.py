"""What the ``celery breaker`` commands share: arguments and options, and how their values are checked."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from celery_breaker.core.names import check_name
from celery_breaker.errors import ConfigurationError
from celery_breaker.status.words import seconds_of

__all__ = [
    "as_json", "assignments", "duration", "named", "one", "override", "rate", "reason", "seconds", "share", "some",
    "web",
]  # fmt: skip

_LITERALS = {"none": None, "true": True, "false": False}

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _BadName(click.ClickException):
    exit_code = 2


def named(ctx: click.Context, param: click.Parameter, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """Refuse, in one line, what no breaker can be called."""
    try:
        for name in (value,) if isinstance(value, str) else value:
            check_name(name)
    except ConfigurationError as exc:
        raise _BadName(str(exc)) from None
    return value


def seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """A time above 0: seconds, or a number with s, m, h or d."""
    if value is None:
        return None
    try:
        return seconds_of(value)
    except ConfigurationError as exc:
        raise click.BadParameter(str(exc), ctx, param) from None


def one(command: _Command) -> _Command:
    """The name of one breaker."""
    return click.argument("name", callback=named)(command)


def some(command: _Command) -> _Command:
    """The names of one or more breakers."""
    return click.argument("names", metavar="NAME...", callback=named, nargs=-1, required=True)(command)


def as_json(command: _Command) -> _Command:
    """``--json``, for whatever prints."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")(command)


def reason(command: _Command) -> _Command:
    """``--reason``."""
    return click.option("--reason", default="", metavar="TEXT", help="Why; shown wherever the breaker is.")(command)


def override(command: _Command) -> _Command:
    """The options of all that overrides the state."""
    create = click.option(
        "--create", is_flag=True, help="Also if no setting, task or record names it: only code that calls it does."
    )
    expires = click.option(
        "--expires",
        callback=seconds,
        metavar="SECONDS",
        help="Lift it after this time: 90, 15m, 2h. Default: never.",
    )
    return reason(expires(create(command)))


def share(ctx: click.Context, param: click.Parameter, value: float) -> float:
    """A number from 0 to 1."""
    if not 0 <= value <= 1:
        raise click.BadParameter(f"{value:g} is not a share; write a number from 0 to 1", ctx, param)
    return value


def rate(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """A number of at least 0, if any."""
    if value is not None and not 0 <= value < math.inf:
        raise click.BadParameter(f"{value:g} is not a rate; write a number of at least 0", ctx, param)
    return value


def duration(flag: str, default: str | None, text: str) -> Callable[[_Command], _Command]:
    """An option that takes a time, see `seconds`."""
    said = f" Default: {default}." if default else ""
    return click.option(flag, callback=seconds, default=default, metavar="SECONDS", help=text + said)


def assignments(pairs: Iterable[str], *, what: str) -> dict[str, object]:
    """``max_failures=3`` and the like as a mapping; what reads like a Python literal is one, all else is text.

    Args:
        what: how an error calls such a pair.

    Raises:
        ConfigurationError: one has no equals sign.
    """
    options: dict[str, object] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise ConfigurationError(f"{what}{pair!r} must look like max_failures=3")
        options[key.strip()] = _value(text.strip())
    return options


def _value(text: str) -> object:
    if text.lower() in _LITERALS:
        return _LITERALS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def web(*flags: str, **how: Any) -> Callable[[_Command], _Command]:
    """An option of ``web``, which an environment variable sets too; there, several have commas between."""
    name = flags[0].removeprefix("--").replace("-", "_").upper()
    if how.get("multiple"):
        how |= {"type": _Listed(), "metavar": how.get("metavar", "TEXT")}
    return click.option(*flags, envvar=f"CELERY_BREAKER_WEB_{name}", show_envvar=True, **how)


class _Listed(click.types.StringParamType):
    envvar_list_splitter = ","
