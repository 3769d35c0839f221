"""A pool process, forked while a thread of the worker was in the middle of something."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from celery import Celery

from celery_breaker import Breaker
from celery_breaker.plugin.app import breakers_of
from tests.support.forks import held_by_a_thread, in_child


@pytest.mark.timeout(30)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_is_not_kept_by_a_thread_that_was_reading_the_settings(
    make_app: Callable[[Mapping[str, Any]], Celery],
) -> None:
    app = make_app({"broker_url": "memory://", "breaker_store": "memory://"})
    app.set_current()
    breakers = breakers_of(app)
    with held_by_a_thread(breakers._lock):
        assert in_child(lambda: Breaker("forked").call(int)) == "0"
