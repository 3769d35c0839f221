"""A browser for the tests of this folder, and a dashboard of its own process over a real Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from celery import Celery
from playwright.sync_api import Browser

from celery_breaker.plugin.app import breakers_of
from celery_breaker.status import Desk
from tests.integration.test_web import Dashboard, dashboard, settings
from tests.web.browser.browsing import Tab, chromium

__all__ = ["dashboard", "settings"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def desk(settings: dict[str, Any], make_app: Callable[[Mapping[str, Any]], Celery]) -> Desk:
    """The desk of this test's process, on the same store and broker."""
    return breakers_of(make_app(settings)).desk


@pytest.fixture
def tab(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """`tab(dashboard, …)` → a browser tab on it; what is given goes to the browser's context."""
    opened: list[Tab] = []

    def make(at: Dashboard, **how: Any) -> Tab:
        opened.append(Tab.open(browser, at.url, **how))
        return opened[-1]

    yield make
    for each in opened:
        each.context.close()
