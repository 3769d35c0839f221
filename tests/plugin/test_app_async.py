"""Whose a breaker is that is first used in a coroutine: the thread that does the work has no current app."""

from __future__ import annotations

import anyio
import pytest
from celery import Celery, _state

from celery_breaker import Breaker
from celery_breaker.plugin.app import breakers_of


@pytest.fixture(autouse=True)
def no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The app that is current goes back to what it was."""
    monkeypatch.setattr(_state._tls, "current_app", None)


def test_it_belongs_to_the_app_that_is_current_where_the_loop_runs() -> None:
    apps = [Celery(name, broker="memory://", set_as_current=False) for name in ("shop", "stock")]
    for app in apps:
        app.set_current()
        anyio.run(Breaker(f"async-{app.main}").acall, anyio.sleep, 0)
        cells = [set(breakers_of(one).registry.cells) for one in apps]
        assert [f"async-{app.main}" in names for names in cells] == [one is app for one in apps]
    for app in apps:
        breakers_of(app).forget()
