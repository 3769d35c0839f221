"""``celery_breaker.open`` and the rest: what an operator says to a breaker, as tasks that beat can schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from celery_breaker.core.record import Mode
from celery_breaker.status import actions
from celery_breaker.status.words import expires_of

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["register"]

_BY = "a task"

_Expires = float | str | None
"""Seconds, or a text like "2h"; ``None`` lasts until it is lifted."""


def register(app: Celery) -> None:
    """Register the tasks with an app, once. Each takes the breaker's name first, and ``by``, which is who says so.

    A task fails with one sentence where nobody knows the breaker, and where the fleet cannot be told.
    """
    if "celery_breaker.open" in app.tasks:
        return

    def act(name: str, action: actions.Action) -> None:
        from celery_breaker.plugin.app import breakers_of

        desk = breakers_of(app).desk
        desk.require(name)
        desk.act(name, action)

    def force(name: str, mode: Mode, reason: str, expires: _Expires, by: str) -> None:
        act(name, actions.force(mode, by=by, reason=reason, expires_in=expires_of(expires)))

    def force_open(name: str, reason: str = "", expires: _Expires = None, by: str = _BY) -> None:
        """Force a breaker open, for ``expires`` (seconds, or "2h") or until it is lifted."""
        force(name, Mode.FORCED_OPEN, reason, expires, by)

    def disable(name: str, reason: str = "", expires: _Expires = None, by: str = _BY) -> None:
        """Have a breaker admit everything, and hold its state still."""
        force(name, Mode.DISABLED, reason, expires, by)

    def observe(name: str, reason: str = "", expires: _Expires = None, by: str = _BY) -> None:
        """Have a breaker admit everything, and report what it would have done."""
        force(name, Mode.OBSERVING, reason, expires, by)

    def auto(name: str, by: str = _BY) -> None:
        """Lift what was forced."""
        act(name, actions.auto(by=by))

    def close(name: str, reason: str = "", by: str = _BY) -> None:
        """Close a breaker."""
        act(name, actions.close(by=by, reason=reason))

    def reset(name: str, reason: str = "", by: str = _BY) -> None:
        """Make a breaker as good as new."""
        act(name, actions.reset(by=by, reason=reason))

    tasks: dict[str, Callable[..., None]] = {
        "open": force_open,
        "disable": disable,
        "observe": observe,
        "auto": auto,
        "close": close,
        "reset": reset,
    }
    for action, function in tasks.items():
        app.task(name=f"celery_breaker.{action}", ignore_result=True, shared=False, lazy=False)(function)
