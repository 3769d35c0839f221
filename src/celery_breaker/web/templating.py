"""Templates: everything in them is escaped, and a name that they do not know is an error."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from celery_breaker.status.words import human, tasks
from celery_breaker.web import charts
from celery_breaker.web.board import FILTERS

__all__ = ["STATIC", "render"]

_HERE = Path(__file__).parent
STATIC = _HERE / "static"


def render(template: str, /, **values: object) -> Markup:
    """A template with these values, as HTML that may stand in another."""
    return Markup(_environment().get_template(template).render(values))  # noqa: S704 -- the template escaped them


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {"human": _lasted, "clock": _clock, "iso": _iso, "tasks": tasks}
    environment.globals |= {"asset": asset, "address": address, "charts": charts, "filters": FILTERS}
    return environment


@cache
def asset(name: str) -> str:
    """The address of a static file, which changes with what is in it."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]
    return f"static/{name}?v={digest}"


def address(to: str, /, **parameters: object) -> str:
    """A page with parameters; those that say nothing are left out.

    Names of breakers travel as parameters and not as parts of a path: a name may be ``..``, or have a slash.

    Example:
        >>> address("breaker", name="a/b", page=1)
        'breaker?name=a%2Fb'
    """
    said = {key: value for key, value in parameters.items() if value not in ("", None) and (key, value) != ("page", 1)}
    return f"{to}?{urlencode(said)}" if said else to


def _lasted(seconds: float) -> str:
    """A duration that is counted in whole seconds."""
    return human(float(round(seconds))) if seconds >= 0.5 else "a moment"


def _moment(at: float) -> datetime:
    try:
        return datetime.fromtimestamp(at, timezone.utc)
    except (ValueError, OSError, OverflowError):  # what others wrote into a store may be any number
        return datetime.fromtimestamp(0, timezone.utc)


def _iso(at: float) -> str:
    return _moment(at).strftime("%Y-%m-%dT%H:%M:%SZ")


def _clock(at: float) -> str:
    return _moment(at).strftime("%d %b %H:%M:%S UTC")
