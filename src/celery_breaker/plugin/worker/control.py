"""Remote control: what workers answer, and do, when asked over the broker. No promise rests on it, for not all can.

A command runs on the worker's main loop, which never waits: it reads memory, and hands over what is to be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click
from celery.worker.control import control_command, inspect_command

from celery_breaker.core import machine
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Record
from celery_breaker.engine.view import Cell
from celery_breaker.errors import BreakerError, ConfigurationError
from celery_breaker.plugin.fleet import COMMAND
from celery_breaker.plugin.worker.attached import side_of
from celery_breaker.status import actions
from celery_breaker.status.desk import require_known
from celery_breaker.status.words import expires_of, seconds_of

if TYPE_CHECKING:
    from celery_breaker.plugin.worker.side import WorkerSide

__all__ = [
    "breaker_auto",
    "breaker_close",
    "breaker_disable",
    "breaker_observe",
    "breaker_open",
    "breaker_reset",
    "breaker_worker",
    "breakers",
]

Answer = dict[str, object]

_BY = "celery control"
"""Who did it, where a broadcast does not say: it carries no name of its sender."""

_MANY = 1000
"""Breakers in one answer."""

_NOTHING_GUARDED = "this worker guards no task, so it has no breakers"

_ALWAYS = ("max_failures", "failure_rate", "failure_window", "recovery_timeout", "on_open", "scope")
"""Options of a policy that are shown even at their default."""


def _error(text: str) -> Answer:
    return {"error": text}


# --- looking ----------------------------------------------------------------------------------------------------------


@inspect_command(name=COMMAND)
def breaker_worker(state: Any, **_: Any) -> Answer:
    """How this worker keeps its breakers: the store, whether it is reached, and whether this worker tends them."""
    side = side_of(state.consumer)
    if side is None:
        return {"store": None}
    registry, agent, now = side.registry, side.agent, side.registry.clock()
    return {
        "store": registry.link.shared.url,
        "connected": registry.link.connected,
        "view_age": None if registry.read_at is None else now - registry.read_at,
        "agent": agent.held,
        "tended": None if agent.tended_at is None else now - agent.tended_at,
    }


@inspect_command(variadic="names", signature="[NAME...]")
def breakers(state: Any, names: Iterable[str] | None = None, **_: Any) -> Answer:
    """Circuit breakers as each worker sees them, all or those named."""
    side = side_of(state.consumer)
    if side is None:
        return _error(_NOTHING_GUARDED)
    cells = side.registry.cells.copy()
    try:
        wanted = _known(side, [names] if isinstance(names, str) else list(names or ()), cells)
    except (BreakerError, TypeError) as exc:
        return _error(str(exc))
    now, link = side.registry.link.now(), side.registry.link
    shown = sorted(wanted or {*cells, *side.policies.names()})
    return {
        "store": link.shared.url,
        "connected": link.connected,
        "breakers": [_shown(name, cells.get(name), side.policies.of(name), now) for name in shown[:_MANY]],
        "left_out": max(0, len(shown) - _MANY),
    }


def _known(side: WorkerSide, names: list[object], cells: Mapping[str, Cell]) -> list[str]:
    """These names, each of a breaker that this worker knows of without a look at the store."""
    known = [*side.policies.names(), *cells]
    for name in names:
        if not isinstance(name, str):
            raise ConfigurationError(f"{name!r} is no name")
        require_known(side.policies, name, lambda: known, otherwise="in use by this worker")
    return [str(name) for name in names]


def _shown(name: str, cell: Cell | None, policy: Policy, now: float) -> Answer:
    record = cell.record if cell is not None else Record(name=name)
    return {
        "name": name,
        "state": str(record.state),
        "mode": str(machine.mode_at(record, now)),
        "generation": record.generation,
        "retry_after": machine.retry_after(record, now),
        "reason": record.reason,
        "known": cell is not None and cell.known,
        "policy": _summary(policy if cell is None else cell.policy),
        "set": dict(record.tuning),
    }


def _summary(policy: Policy) -> Answer:
    return {name: _plain(getattr(policy, name)) for name in dict.fromkeys((*_ALWAYS, *policy.differences(Policy())))}


def _plain(value: object) -> object:
    """An option as JSON can have it: classes and functions by their names."""
    if isinstance(value, (str, int, float, type(None))):
        return value
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    return getattr(value, "__qualname__", None) or repr(value)


# --- steering ---------------------------------------------------------------------------------------------------------


def _duration(text: str) -> float:
    """The type of an argument that the command line reads before it asks any worker."""
    try:
        return seconds_of(text)
    except ConfigurationError as exc:
        raise click.UsageError(str(exc)) from None


_NAME: list[tuple[str, Callable[[str], object]]] = [("name", str)]
_REASON = [*_NAME, ("reason", str)]
_EXPIRES = [*_REASON, ("expires", _duration)]


@control_command(args=_EXPIRES, signature="NAME [REASON [EXPIRES]]")
def breaker_open(state: Any, name: object = "", **said: Any) -> Answer:
    """Force a breaker open, until lifted or for a time like 15m."""
    return _force(state, "breaker_open", name, Mode.FORCED_OPEN, **said)


@control_command(args=_EXPIRES, signature="NAME [REASON [EXPIRES]]")
def breaker_disable(state: Any, name: object = "", **said: Any) -> Answer:
    """Have a breaker admit every call and hold its state still."""
    return _force(state, "breaker_disable", name, Mode.DISABLED, **said)


@control_command(args=_EXPIRES, signature="NAME [REASON [EXPIRES]]")
def breaker_observe(state: Any, name: object = "", **said: Any) -> Answer:
    """Have a breaker admit every call and only report what it would do."""
    return _force(state, "breaker_observe", name, Mode.OBSERVING, **said)


@control_command(args=_NAME, signature="NAME")
def breaker_auto(state: Any, name: object = "", by: str = _BY, **_: Any) -> Answer:
    """Lift what breaker_open, breaker_disable or breaker_observe said."""
    return _order(state, "breaker_auto", name, lambda: actions.auto(by=_text("by", by)))


@control_command(args=_REASON, signature="NAME [REASON]")
def breaker_close(state: Any, name: object = "", reason: str = "", by: str = _BY, **_: Any) -> Answer:
    """Close a breaker now; parked tasks start to go back."""
    return _order(
        state, "breaker_close", name, lambda: actions.close(by=_text("by", by), reason=_text("reason", reason))
    )


@control_command(args=_REASON, signature="NAME [REASON]")
def breaker_reset(state: Any, name: object = "", reason: str = "", by: str = _BY, **_: Any) -> Answer:
    """Make a breaker as new: closed, no override, no back-off."""
    return _order(
        state, "breaker_reset", name, lambda: actions.reset(by=_text("by", by), reason=_text("reason", reason))
    )


def _force(
    state: Any, what: str, name: object, mode: Mode, *, reason: object = "", expires: object = None, by: object = _BY,
    **_: Any,
) -> Answer:  # fmt: skip
    def action() -> actions.Action:
        said = _text("by", by), _text("reason", reason)
        return actions.force(mode, by=said[0], reason=said[1], expires_in=expires_of(expires))

    return _order(state, what, name, action)


def _order(state: Any, what: str, name: object, action: Callable[[], actions.Action]) -> Answer:
    """Hand it over; the answer says that it was, not that it came about."""
    side = side_of(state.consumer)
    if side is None:
        return _error(_NOTHING_GUARDED)
    if not isinstance(name, str) or not name:
        return _error(f"say which breaker: {what} NAME")
    try:
        _known(side, [name], side.registry.cells.copy())
        ordered = action()
    except BreakerError as exc:
        return _error(str(exc))
    if not side.registry.link.connected:
        return _error("this worker does not reach the store, so it changes nothing; look at `inspect breakers`")
    side.steering.order(what, name, ordered)
    return {"ok": f"{what} of {name!r} is under way"}


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"{what}={value!r} is no text")
    return value
