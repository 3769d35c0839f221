"""When something is to end, as people say it: at a time, after a time."""

from __future__ import annotations

from datetime import datetime, timedelta

from celery_breaker.core.record import LAST_TIME
from celery_breaker.errors import ConfigurationError

__all__ = ["seconds_until"]


def seconds_until(until: datetime | timedelta | float, *, now: datetime) -> float:
    """Seconds from ``now``, an aware datetime, to ``until``: an aware datetime, a timedelta, or seconds.

    Raises:
        ConfigurationError: it is none of these, has no time zone, or is over.

    Example:
        >>> from datetime import timezone
        >>> noon = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)
        >>> seconds_until(noon, now=noon - timedelta(hours=1)), seconds_until(timedelta(minutes=2), now=noon)
        (3600.0, 120.0)
    """
    if isinstance(until, datetime):
        if until.utcoffset() is None:
            raise ConfigurationError(f"until={until.isoformat()} has no time zone; give it one, like timezone.utc")
        seconds = (until - now).total_seconds()
        said = until.isoformat()
    else:
        seconds = until.total_seconds() if isinstance(until, timedelta) else until
        said = repr(until)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ConfigurationError(f"until={said} must be an aware datetime, a timedelta or a number of seconds")
    if not 0 < seconds < LAST_TIME:
        raise ConfigurationError(f"until={said} must lie ahead; without an end, force it with open()")
    return float(seconds)
