"""News of breakers: what is logged, one line per change, and how listeners are told."""

from __future__ import annotations

import logging
from collections.abc import Callable

from celery_breaker.core.events import Change
from celery_breaker.core.record import Record, State
from celery_breaker.core.tuning import tuning_words

__all__ = ["about", "isolated", "log_change", "log_learned"]

logger = logging.getLogger(__name__)


def isolated(function: Callable[..., object], *args: object) -> None:
    """Call somebody else's function; what it raises is logged and goes no further."""
    try:
        function(*args)
    except Exception:
        logger.exception("%r failed; the breaker goes on", function)


def about(record: Record) -> dict[str, object]:
    """What a log line about a breaker carries beside its text; the names are API, see docs/observability.md."""
    return {
        "breaker": record.name,
        "state": str(record.state),
        "mode": str(record.mode),
        "generation": record.generation,
        "trips": record.trips,
        "reason": record.reason,
    }


def log_change(change: Change) -> None:
    """Log a change that this process won in one line: a trip as a warning, one that is repeated as an error."""
    extra = _fields(change)
    override = f" ({_override(change)})" if change.overridden else ""
    if change.moved and change.after is State.OPEN:
        level = logging.ERROR if change.trips > 2 else logging.WARNING
        wait = change.until - change.at
        logger.log(level, "breaker %r opened for %.1f s: %s%s", change.name, wait, change.reason, override, extra=extra)
    elif change.moved:
        level = logging.WARNING if change.overridden else logging.INFO
        text = "breaker %r is %s (was %s): %s%s"
        logger.log(level, text, change.name, change.after, change.before, change.reason, override, extra=extra)
    elif change.overridden:
        why = f": {change.reason}" if change.reason else ""
        logger.warning("breaker %r is %s%s", change.name, _override(change), why, extra=extra)
    elif change.tuning is not None:
        words = f"goes by {tuning_words(change.tuning)}" if change.tuning else "goes by the app's own policy again"
        by = f", says {change.by}" if change.by else ""
        logger.warning("breaker %r %s%s", change.name, words, by, extra=extra)
    else:
        why = f": {change.reason}" if change.reason else ""
        logger.info("breaker %r is %s, %s as before%s", change.name, change.after, change.mode_after, why, extra=extra)


def _fields(change: Change) -> dict[str, object]:
    return {
        "breaker": change.name,
        "state": str(change.after),
        "state_before": str(change.before),
        "mode": str(change.mode_after),
        "mode_before": str(change.mode_before),
        "generation": change.generation,
        "trips": change.trips,
        "reason": change.reason,
        "by": change.by,
        "retry_after": max(0.0, change.until - change.at) if change.after is State.OPEN else None,
    }


def _override(change: Change) -> str:
    return f"now {change.mode_after}" + (f" by {change.by}" if change.by else "")


def log_learned(before: Record, after: Record) -> None:
    """Log a change that another process won."""
    if before.generation != after.generation or before.mode is not after.mode:
        mode = "" if after.override is None else f", {after.mode}"
        logger.info("breaker %r is %s%s, says the store", after.name, after.state, mode, extra=about(after))
    if before.tuning != after.tuning:
        words = tuning_words(after.tuning) or "the app's own policy"
        logger.info("breaker %r goes by %s, says the store", after.name, words, extra=about(after))
