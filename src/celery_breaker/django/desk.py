"""The desk of a Django process: that of the project's Celery app, which a web process may not have loaded yet."""

from __future__ import annotations

import os
from importlib.metadata import entry_points

from celery_breaker.errors import ConfigurationError
from celery_breaker.status import Desk
from celery_breaker.status.default import current_desk

__all__ = ["desk", "load_commands"]

_kept: dict[int, Desk] = {}


def load_commands() -> None:
    """Load what ``celery breaker`` is: whoever names no breaker in code has not imported the plugin so far."""
    for command in entry_points(group="celery.commands", name="breaker"):
        command.load()


def desk() -> Desk:
    """The desk of the current Celery app, kept as long as its app keeps its registry; thread-safe.

    Raises:
        ConfigurationError: the project loads no Celery app, or its settings cannot work.
    """
    load_commands()
    try:
        current = current_desk()
    except ConfigurationError as exc:
        raise ConfigurationError(f"breakers cannot be shown: {exc}") from None
    kept = _kept.get(os.getpid())
    if kept is None or kept.registry is not current.registry:
        kept = current
        _kept.clear()
        _kept[os.getpid()] = kept
    return kept
