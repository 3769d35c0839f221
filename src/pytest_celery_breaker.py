"""celery-breaker's pytest plugin: the fixtures `breakers` and `breakers_app`. Imports nothing until they are used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from celery_breaker.testing import Breakers

__all__ = ["breakers", "breakers_app", "pytest_itemcollected"]

_ELSEWHERE = {"celery_setup": "celery_setup_app", "celery_session_worker": "celery_session_app"}
"""Fixtures whose workers run before a test begins, or in other processes, and the fixtures of their apps."""

_HERE = ("celery_app", "celery_session_app")
"""Fixtures of celery.contrib.pytest that make an app."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Have breakers in memory before the test's worker starts, in whatever order the test names them."""
    names: list[str] = getattr(item, "fixturenames", [])
    if "breakers" in names and "celery_worker" in names and not _ELSEWHERE.keys() & set(names):
        names.remove("breakers")
        names.insert(names.index("celery_worker"), "breakers")


@pytest.fixture
def breakers_app(request: pytest.FixtureRequest) -> object:
    """The app, or a list of apps, whose breakers the test uses; override it to say which.

    The app of ``celery_setup`` or of ``celery_app``, if the test has one of these; else the current app.
    """
    used = request.fixturenames
    for asked, fixture in _ELSEWHERE.items():
        if asked in used:
            return request.getfixturevalue(fixture)
    for fixture in _HERE:
        if fixture in used:
            return request.getfixturevalue(fixture)
    return None


@pytest.fixture
def breakers(request: pytest.FixtureRequest, breakers_app: object) -> Iterator[Breakers]:
    """The breakers of `breakers_app`, in memory and on a clock of the test's own; see `celery_breaker.testing`.

    With pytest-celery's ``celery_setup``, or a worker of the whole session, they stay where those workers share them.
    """
    from celery_breaker import testing

    apps = breakers_app if isinstance(breakers_app, (list, tuple)) else [breakers_app]
    given = [app for app in apps if app is not None]
    elsewhere = any(name in request.fixturenames for name in _ELSEWHERE)
    with testing.attached(*given) if elsewhere else testing.in_memory(*given) as found:
        yield found
