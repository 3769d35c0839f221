"""News of breakers: what is logged, one line per change, and how listeners are told."""

from __future__ import annotations

import logging
from collections.abc import Callable

from celery_breaker.core.events import Change
from celery_breaker.core.record import Record, State

__all__ = ["isolated", "log_change", "log_learned"]

logger = logging.getLogger(__name__)


def isolated(function: Callable[..., object], *args: object) -> None:
    """Call somebody else's function; what it raises is logged and goes no further."""
    try:
        function(*args)
    except Exception:
        logger.exception("%r failed; the breaker goes on", function)


def log_change(change: Change) -> None:
    """Log a change that this process won: a trip as a warning, one that is repeated as an error."""
    extra = {"breaker": change.name, "generation": change.generation, "state": str(change.after)}
    if change.moved and change.after is State.OPEN:
        level = logging.ERROR if change.trips > 2 else logging.WARNING
        wait = change.until - change.at
        logger.log(level, "breaker %r opened for %.1f s: %s", change.name, wait, change.reason, extra=extra)
    elif change.moved:
        logger.info(
            "breaker %r is %s (was %s): %s", change.name, change.after, change.before, change.reason, extra=extra
        )
    if change.overridden:
        who = f" by {change.by}" if change.by else ""
        why = f": {change.reason}" if change.reason and not change.moved else ""
        logger.warning("breaker %r is now %s%s%s", change.name, change.mode_after, who, why, extra=extra)


def log_learned(before: Record, after: Record) -> None:
    """Log a change that another process won."""
    if before.generation != after.generation or before.mode is not after.mode:
        mode = "" if after.override is None else f", {after.mode}"
        logger.info("breaker %r is %s%s, says the store", after.name, after.state, mode)
