"""What an operator can do to a breaker's record: a step for the engine, and what must hold afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from celery_breaker.core import machine
from celery_breaker.core.record import Mode, Record, State

__all__ = ["Action", "auto", "close", "force", "reset"]


@dataclass(frozen=True, slots=True)
class Action:
    """A change of a record, what must hold of it afterwards, and who ordered it."""

    step: Callable[[Record, float], Record]
    holds: Callable[[Record], bool]
    by: str = ""


def force(mode: Mode, *, by: str, reason: str = "", expires_in: float | None = None) -> Action:
    """Put an operator's word over the state, for ``expires_in`` seconds or until it is lifted."""
    return Action(
        lambda record, now: machine.override(record, mode, now=now, reason=reason, by=by, expires_in=expires_in),
        lambda record: record.mode is mode,
        by,
    )


def auto(*, by: str = "") -> Action:
    """Lift the override."""
    return Action(
        lambda record, now: machine.override(record, Mode.AUTO, now=now) if record.override else record,
        lambda record: record.mode is Mode.AUTO,
        by,
    )


def close(*, by: str, reason: str = "") -> Action:
    """Close by hand."""
    said = _said("closed", by, reason)
    return Action(
        lambda record, now: machine.close(record, now=now, reason=said),
        lambda record: record.state is State.CLOSED and record.mode is not Mode.FORCED_OPEN,
        by,
    )


def reset(*, by: str, reason: str = "") -> Action:
    """Back to a fresh breaker."""
    said = _said("reset", by, reason)
    return Action(
        lambda record, now: machine.reset(record, now=now, reason=said),
        lambda record: record.state is State.CLOSED and record.override is None,
        by,
    )


def _said(verb: str, by: str, reason: str) -> str:
    return f"{verb} by {by}" + (f": {reason}" if reason else "")
