"""Whose breakers are meant where nobody says: those of the current Celery app, looked for at the first use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery import _state as celery_state

from celery_breaker.engine import default, stage
from celery_breaker.engine.registry import Registry
from celery_breaker.plugin.unproxied import unproxied
from celery_breaker.status import default as desks

if TYPE_CHECKING:
    from celery_breaker.plugin.app import AppBreakers
    from celery_breaker.plugin.rehearsal.house import AppHouse
    from celery_breaker.status import Desk

__all__: list[str] = []


def _current_app() -> Celery | None:
    """The current app; in a thread that has none, as a web server's, the one that there is.

    Where there is no app, Celery would make one up, called "default".
    """
    state: Any = celery_state
    app: Celery | None = getattr(state._tls, "current_app", None) or state.default_app
    if app is None or app.main == "default":
        made = [one for one in list(state._get_active_apps()) if one.main != "default"]
        app = made[0] if len(made) == 1 else app
    return app


def _breakers(app: Celery | None) -> AppBreakers | None:
    if app is None:
        return None
    from celery_breaker.plugin.app import breakers_of

    return breakers_of(app)


def _current_registry() -> Registry:
    return _registry_of(_current_app())


def _bound_registry() -> Callable[[], Registry]:
    return partial(_registry_of, _current_app())


def _registry_of(app: Celery | None) -> Registry:
    """An app's registry; where there is no app, this process's memory."""
    breakers = _breakers(app)
    return breakers.registry if breakers is not None else default.registry_at("memory://")


def _current_desk() -> Desk | None:
    breakers = _breakers(_current_app())
    return breakers.desk if breakers is not None else None


def _house_of(app: object) -> AppHouse | None:
    """For tests alone."""
    wanted = _current_app() if app is None else unproxied(app)
    if not isinstance(wanted, Celery):
        return None
    from celery_breaker.plugin.rehearsal.house import house_of_app

    return house_of_app(wanted)


default.provide(_current_registry, bound=_bound_registry)
desks.provide(_current_desk)
stage.provide(_house_of)
