"""The tasks of maintenance, run in this process: what they take, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from celery import Celery

from celery_breaker import Breaker, ConfigurationError, Mode
from celery_breaker.core.record import Override, Record, State
from celery_breaker.errors import OutOfReachError, UnknownBreakerError
from celery_breaker.plugin.app import breakers_of

ACTIONS = ("auto", "close", "disable", "observe", "open", "reset")


@pytest.fixture
def app(make_app: Callable[[Mapping[str, Any]], Celery]) -> Celery:
    breakers = {"smtp": {}, "own": {"scope": "worker"}}
    return make_app({"broker_url": "memory://", "breaker_store": "memory://", "breakers": breakers, "imports": []})


def run(app: Celery, action: str, *args: Any, **kwargs: Any) -> None:
    app.tasks[f"celery_breaker.{action}"](*args, **kwargs)


def override(app: Celery) -> Override | None:
    return breakers_of(app).registry.cell("smtp").record.override


@pytest.mark.parametrize(
    ("action", "mode"), [("open", Mode.FORCED_OPEN), ("disable", Mode.DISABLED), ("observe", Mode.OBSERVING)]
)
@pytest.mark.parametrize(("expires", "seconds"), [(600, 600), ("10m", 600), (None, None)])
def test_a_forced_mode_says_why_until_when_and_by_whom(
    app: Celery, action: str, mode: Mode, expires: Any, seconds: float | None
) -> None:
    run(app, action, "smtp", reason="upgrade", expires=expires, by="eve")
    said = override(app)
    assert said is not None
    assert (said.mode, said.reason, said.by) == (mode, "upgrade", "eve")
    assert (None if said.expires is None else said.expires - said.since) == seconds
    run(app, "auto", "smtp")
    assert override(app) is None


@pytest.mark.parametrize(("action", "verb"), [("close", "closed"), ("reset", "reset")])
def test_closing_and_resetting_say_why_and_by_whom(app: Celery, action: str, verb: str) -> None:
    registry = breakers_of(app).registry
    Breaker("smtp").open()
    for words, said in [({}, f"{verb} by a task"), ({"reason": "moved", "by": "eve"}, f"{verb} by eve: moved")]:
        registry.change(registry.cell("smtp"), lambda record, now: _opened(record))
        run(app, action, "smtp", **words)
        assert registry.cell("smtp").record.reason == said
    assert override(app) is None


def _opened(record: Record) -> Record:
    return replace(record, state=State.OPEN, until=1e9)


@pytest.mark.parametrize("expires", [0, -1, True, "soon", [1]])
def test_an_expiry_that_is_none_forces_nothing(app: Celery, expires: Any) -> None:
    with pytest.raises(ConfigurationError):
        run(app, "open", "smtp", expires=expires)
    assert override(app) is None


@pytest.mark.parametrize("action", ACTIONS)
def test_a_breaker_that_nobody_knows_is_named_with_the_nearest(app: Celery, action: str) -> None:
    with pytest.raises(UnknownBreakerError, match=r"no breaker 'smpt' .*did you mean 'smtp'"):
        run(app, action, "smpt")


def test_a_breaker_that_each_worker_keeps_for_itself_is_out_of_reach(app: Celery) -> None:
    with pytest.raises(OutOfReachError, match="scope='worker'"):
        run(app, "open", "own")


def test_every_process_that_has_the_app_knows_the_names() -> None:
    app = Celery("web", broker="memory://", set_as_current=False)
    app.finalize()
    assert [name for name in sorted(app.tasks) if name.startswith("celery_breaker.")] == [
        f"celery_breaker.{action}" for action in ACTIONS
    ]
