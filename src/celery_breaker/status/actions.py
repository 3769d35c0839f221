"""What an operator can do to a breaker's record: a step for the engine, and what must hold afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from celery_breaker.core import machine, tuning
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Record, State, Value

__all__ = ["Action", "auto", "close", "force", "once", "reset", "tune", "untune"]

_MOMENT = 10.0
"""Seconds within which an order that is heard again is the same one."""


def _never(_record: Record, _now: float) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Action:
    """A change of a record, and what must hold of it afterwards.

    Attributes:
        by: who ordered it.
        done: whether it was carried out a moment ago, where doing it again would be another change.

    Example:
        A desk carries it out, atomically::

            current_desk().act("smtp", actions.close(by="eve", reason="the provider says it is fixed"))
    """

    step: Callable[[Record, float], Record]
    holds: Callable[[Record], bool]
    by: str = ""
    done: Callable[[Record, float], bool] = _never


def once(action: Action) -> Action:
    """The same for an order that many processes are given: whoever comes second within ten seconds changes nothing.

    Example:
        >>> order = once(force(Mode.DISABLED, by="eve"))
        >>> obeyed = order.step(Record(name="smtp"), 0.0)
        >>> order.step(obeyed, 1.0) is obeyed
        True
    """
    return replace(action, step=lambda record, now: record if action.done(record, now) else action.step(record, now))


def force(mode: Mode, *, by: str, reason: str = "", expires_in: float | None = None) -> Action:
    """Put an operator's word over the state, for ``expires_in`` seconds or until it is lifted.

    Example:
        >>> order = force(Mode.FORCED_OPEN, by="eve", reason="the mail host moves", expires_in=600)
        >>> forced = order.step(Record(name="smtp"), 0.0)
        >>> str(forced.mode), forced.override.expires, order.holds(forced)
        ('forced_open', 600.0, True)
    """

    def done(record: Record, now: float) -> bool:
        said = record.override
        if said is None or (said.mode, said.by, said.reason) != (mode, by, reason):
            return False
        if expires_in is None or said.expires is None:
            return said.expires == expires_in
        return abs(now + expires_in - said.expires) < _MOMENT

    return Action(
        lambda record, now: machine.override(record, mode, now=now, reason=reason, by=by, expires_in=expires_in),
        lambda record: record.mode is mode,
        by,
        done,
    )


def auto(*, by: str = "") -> Action:
    """Lift the override.

    Example:
        >>> forced = force(Mode.DISABLED, by="eve").step(Record(name="smtp"), 0.0)
        >>> str(auto(by="eve").step(forced, 1.0).mode)
        'auto'
    """
    return Action(
        lambda record, now: machine.override(record, Mode.AUTO, now=now),
        lambda record: record.mode is Mode.AUTO,
        by,
    )


def close(*, by: str, reason: str = "") -> Action:
    """Close by hand, lifting a forced opening; an early relapse still opens for longer than the first time.

    Example:
        >>> closed = close(by="eve").step(Record(name="smtp", state=State.OPEN, trips=3), 100.0)
        >>> str(closed.state), closed.reason
        ('closed', 'closed by eve')
    """
    said = _said("closed", by, reason)
    return Action(
        lambda record, now: machine.close(record, now=now, reason=said),
        lambda record: record.state is State.CLOSED and record.mode is not Mode.FORCED_OPEN,
        by,
    )


def reset(*, by: str, reason: str = "") -> Action:
    """Back to a fresh breaker: closed, no override, no back-off, an empty window.

    Example:
        >>> reset(by="eve").step(Record(name="smtp", state=State.OPEN, trips=3), 100.0).trips
        0
    """
    said = _said("reset", by, reason)

    def done(record: Record, now: float) -> bool:
        fresh = record.state is State.CLOSED and record.override is None
        return fresh and record.reason == said and now - record.since < _MOMENT

    return Action(
        lambda record, now: machine.reset(record, now=now, reason=said),
        lambda record: record.state is State.CLOSED and record.override is None,
        by,
        done,
    )


def tune(given: Mapping[str, Value], *, over: Policy, by: str) -> Action:
    """Set options, each until it is dropped or set again.

    Args:
        over: the app's own policy, which the whole of what is set must fit; the step raises `ConfigurationError`.

    Example:
        >>> tune({"max_failures": 3}, over=Policy(), by="eve").step(Record(name="smtp"), 0.0).tuning
        (('max_failures', 3),)
    """

    def step(record: Record, now: float) -> Record:
        wanted = tuning.retuned(record.tuning, given=given)
        tuning.tuned(over, wanted)
        return machine.retuned(record, wanted)

    return Action(step, lambda record: given.items() <= dict(record.tuning).items(), by)


def untune(names: Iterable[str], *, by: str) -> Action:
    """Go back to the app's own values of these options, or of all that are set if none is named.

    Example:
        >>> untune([], by="eve").step(Record(name="smtp", tuning=(("max_failures", 3),)), 0.0).tuning
        ()
    """
    dropped = tuple(names) or None
    return Action(
        lambda record, now: machine.retuned(record, tuning.retuned(record.tuning, dropped=dropped)),
        lambda record: not any(name in (dropped or dict(record.tuning)) for name, _ in record.tuning),
        by,
    )


def _said(verb: str, by: str, reason: str) -> str:
    return f"{verb} by {by}" + (f": {reason}" if reason else "")
