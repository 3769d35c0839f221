"""Which desk is meant where nobody says: that of the current Celery app, which the plugin provides."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from celery_breaker.errors import ConfigurationError

if TYPE_CHECKING:
    from celery_breaker.status import Desk

__all__ = ["current_desk", "provide"]

_provider: Callable[[], Desk | None] | None = None


def provide(provider: Callable[[], Desk | None]) -> None:
    """Let ``provider`` say which desk is current; ``None`` if there is no app."""
    global _provider  # noqa: PLW0603 -- one per process, set once as the plugin is imported
    _provider = provider


def current_desk() -> Desk:
    """The desk of the current Celery app.

    Raises:
        ConfigurationError: no app is loaded, or its settings cannot work.

    Example:
        In code that has imported the app::

            refusing = [status.name for status in current_desk().statuses() if not status.admits]
    """
    if _provider is None or (desk := _provider()) is None:
        raise ConfigurationError("no Celery app is loaded; import yours, in the project's __init__.py for instance")
    return desk
