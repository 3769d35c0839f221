"""What becomes of a task that is published for a breaker that does not admit calls: the words for it."""

from __future__ import annotations

from celery_breaker.errors import ConfigurationError, suggestion

__all__ = ["NAME", "ON_PUBLISH", "check_on_publish"]

NAME = "breaker_on_publish"
"""The setting, and the attribute of a task."""

ON_PUBLISH = ("send", "raise", "park")


def check_on_publish(value: object) -> None:
    """Raise `ConfigurationError` for what is neither one of the words, nor a callable, nor the path of one.

    Example:
        >>> check_on_publish("prak")
        Traceback (most recent call last):
        ...
        celery_breaker.errors.ConfigurationError: breaker_on_publish='prak' is unknown; did you mean 'park'?
    """
    if isinstance(value, str):
        if value not in ON_PUBLISH and "." not in value and ":" not in value:
            raise ConfigurationError(f"{NAME}={value!r} is unknown{suggestion(value, ON_PUBLISH)}")
    elif not callable(value):
        raise ConfigurationError(f"{NAME}={value!r} is neither one of {', '.join(ON_PUBLISH)} nor callable")
