"""What a dotted path in the settings, or on a task, names."""

from __future__ import annotations

from collections.abc import Callable

from celery.utils.imports import symbol_by_name

from celery_breaker.errors import ConfigurationError

__all__ = ["callable_at"]


def callable_at(path: str, *, option: str) -> Callable[..., object]:
    """The callable at this path, which ``option`` names.

    Raises:
        ConfigurationError: it cannot be imported, or called.
    """
    try:
        found: object = symbol_by_name(path)
    except (ImportError, AttributeError, ValueError) as exc:
        raise ConfigurationError(f"{option}={path!r} cannot be imported: {exc}") from None
    if not callable(found):
        raise ConfigurationError(f"{option}={path!r} is not callable")
    return found
