"""Names of breakers: which are allowed, and templates that take a name from a call's arguments."""

from __future__ import annotations

import string
from collections.abc import Mapping

from celery_breaker.errors import ConfigurationError

__all__ = ["MAX_NAME", "check_name", "fields_of", "fill", "is_name"]

MAX_NAME = 200
"""Longest name, in characters."""


def check_name(name: str) -> str:
    """Return ``name``, or raise `ConfigurationError` if it cannot be a breaker's name.

    Example:
        >>> check_name("webhook:example.org")
        'webhook:example.org'
    """
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"a breaker's name must be a non-empty string, not {name!r}")
    if len(name) > MAX_NAME:
        raise ConfigurationError(f"breaker name {name[:40]!r}… has {len(name)} characters; use at most {MAX_NAME}")
    if not name.isprintable():
        raise ConfigurationError(f"breaker name {name!r} has control characters; use printable ones only")
    return name


def is_name(name: str) -> bool:
    """Whether this can be a breaker's name; what others wrote into a store may not be one."""
    try:
        return bool(check_name(name))
    except ConfigurationError:
        return False


def fields_of(template: str) -> tuple[str, ...]:
    """The arguments a name is made from: ``("host",)`` for ``"webhook:{host}"``, ``()`` for a plain name.

    Raises:
        ConfigurationError: the braces do not match, or a field is not a plain argument name.
    """
    try:
        parts = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    except ValueError as exc:
        raise ConfigurationError(f"breaker name {template!r} is not a valid template: {exc}") from None
    for field in parts:
        root = field.split(".")[0].split("[")[0]
        if not root.isidentifier() or root.startswith("__") or "._" in field:
            raise ConfigurationError(f"breaker name {template!r}: {{{field}}} does not name an argument of the task")
    return tuple(dict.fromkeys(field.split(".")[0].split("[")[0] for field in parts))


def fill(template: str, arguments: Mapping[str, object]) -> str:
    """Put a call's arguments into a template and check the name that comes out.

    Raises:
        ConfigurationError: an argument is missing, or the result is no valid name.

    Example:
        >>> fill("webhook:{host}", {"host": "a.example"})
        'webhook:a.example'
    """
    try:
        name = template.format_map(arguments)
    except (KeyError, IndexError, AttributeError) as exc:
        raise ConfigurationError(f"breaker name {template!r} needs the argument {exc}, which this call lacks") from None
    except Exception as exc:
        raise ConfigurationError(
            f"breaker name {template!r} cannot be made from this call's arguments: {exc}"
        ) from None
    return check_name(name)
