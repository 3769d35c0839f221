"""What each task, and the app, says of publishing for a breaker that does not admit calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from celery_breaker.errors import ConfigurationError
from celery_breaker.plugin.aliases import AnyTask
from celery_breaker.plugin.declared.paths import callable_at
from celery_breaker.settings.on_publish import NAME, ON_PUBLISH, check_on_publish

__all__ = ["OnPublish", "resolved", "said_by"]

OnPublish = str | Callable[..., object]
"""One of ``ON_PUBLISH``, or a fallback of (exception, *args, **kwargs)."""


def said_by(task: AnyTask | None) -> OnPublish | None:
    """What a task's own attribute says, unresolved; a function is taken as it is, not as a method of the task."""
    said = inspect.getattr_static(task, NAME, None)
    return said.__func__ if isinstance(said, (staticmethod, classmethod)) else said


def resolved(value: OnPublish, *, of: str = "") -> OnPublish:
    """A word as it is, a path as the callable that it names.

    Args:
        of: the task that says so, for the message of the error.

    Raises:
        ConfigurationError: it is no word, or names nothing that can be called.
    """
    try:
        check_on_publish(value)
        return value if not isinstance(value, str) or value in ON_PUBLISH else callable_at(value, option=NAME)
    except ConfigurationError as exc:
        raise ConfigurationError(f"task {of}: {exc}" if of else str(exc)) from None
