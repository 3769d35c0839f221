"""What a client orders, as JSON: checked field by field."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from starlette.requests import Request

from celery_breaker.core.record import Value, is_value
from celery_breaker.errors import suggestion
from celery_breaker.web.problems import Problem
from celery_breaker.web.security import body_of

__all__ = [
    "LONGEST", "LONGEST_REASON", "Field", "boolean", "count", "expires", "names", "options", "order_of", "reason",
    "text",
]  # fmt: skip

Field = Callable[[str, object], object]
"""Checks the value of a field, by the field's name. Raises `Problem`."""

LONGEST_REASON = 500
"""Characters."""

LONGEST = 10 * 366 * 86400
"""Seconds for which an override may be made: ten years."""

_MOST = 1_000_000_000


async def order_of(request: Request, fields: Mapping[str, Field]) -> dict[str, object]:
    """The fields that were sent, as an object of JSON. Raises `Problem`: 413, 415 or 422."""
    body = await body_of(request, "application/json")
    try:
        order = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise Problem(422, "the body is no JSON") from None
    if not isinstance(order, dict):
        raise Problem(422, "the body must be an object of JSON, {} for one without fields")
    for name in order:
        if name not in fields:
            raise Problem(422, f"unknown field {name[:40]!r}{suggestion(name[:40], tuple(fields))}")
    return {name: fields[name](name, value) for name, value in order.items()}


def text(name: str, value: object) -> str:
    """Any text."""
    if not isinstance(value, str):
        raise Problem(422, f"{name} must be a text")
    return value


def reason(name: str, value: object) -> str:
    """A line that people read."""
    said = text(name, value)
    if len(said) > LONGEST_REASON or (said and not said.isprintable()):
        raise Problem(422, f"{name} must be printable, on one line, and of at most {LONGEST_REASON} characters")
    return said


def expires(name: str, value: object) -> float | None:
    """Seconds from now on; null is never."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LONGEST:
        raise Problem(422, f"{name} must be a number of seconds above 0 and of at most {LONGEST}, or null for never")
    return float(value)


def count(name: str, value: object) -> int | None:
    """How many; null is all."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST:
        raise Problem(422, f"{name} must be a whole number from 1 to {_MOST}, or null for all")
    return value


def options(name: str, value: object) -> dict[str, Value]:
    """Options of a policy by name; what they may be, the desk knows."""
    if not isinstance(value, dict) or not value:
        raise Problem(422, f'{name} must be an object with options, like {{"max_failures": 10}}')
    for option, one in value.items():
        if not is_value(one):
            raise Problem(422, f"{name}: {option[:40]!r} must be a number, a text, true, false or null")
    return value


def names(name: str, value: object) -> tuple[str, ...]:
    """Names of options; none is all."""
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Problem(422, f'{name} must be a list of names, like ["max_failures"]')
    return tuple(value)


def boolean(name: str, value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Problem(422, f"{name} must be true or false")
    return value
