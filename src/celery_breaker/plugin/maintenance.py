"""``celery_breaker.open`` and the rest: what an operator says to a breaker, as tasks that beat can schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from celery_breaker.engine.breaker import Breaker
from celery_breaker.errors import ConfigurationError, suggestion

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["register"]

_BY = "a task"


def register(app: Celery) -> None:
    """Register the tasks with an app, once. Each takes the breaker's name first; durations are in seconds."""
    if "celery_breaker.open" in app.tasks:
        return

    def named(name: str) -> Breaker:
        from celery_breaker.plugin.app import breakers_of

        breakers = breakers_of(app)
        if not breakers.policies.knows(name) and name not in breakers.registry.link.run(lambda store: store.names()):
            raise ConfigurationError(f"no breaker {name!r}{suggestion(name, tuple(breakers.policies.declared))}")
        return Breaker(name)

    def force_open(name: str, reason: str = "", expires: float | None = None) -> None:
        """Force a breaker open, for ``expires`` seconds or until lifted."""
        named(name).open(reason=reason, expires=expires, by=_BY)

    def disable(name: str, reason: str = "", expires: float | None = None) -> None:
        """Have a breaker admit everything."""
        named(name).disable(reason=reason, expires=expires, by=_BY)

    def observe(name: str, reason: str = "", expires: float | None = None) -> None:
        """Have a breaker admit everything, and report what it would have done."""
        named(name).observe(reason=reason, expires=expires, by=_BY)

    def auto(name: str) -> None:
        """Lift what was forced."""
        named(name).auto(by=_BY)

    def close(name: str) -> None:
        """Close a breaker."""
        named(name).close(reason="closed by a task", by=_BY)

    def reset(name: str) -> None:
        """Make a breaker as good as new."""
        named(name).reset(reason="reset by a task", by=_BY)

    actions: dict[str, Callable[..., None]] = {
        "open": force_open,
        "disable": disable,
        "observe": observe,
        "auto": auto,
        "close": close,
        "reset": reset,
    }
    for action, function in actions.items():
        app.task(name=f"celery_breaker.{action}", ignore_result=True, shared=False, lazy=False)(function)
