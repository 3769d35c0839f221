"""An app whose broker and stores are not there: whoever connects to them fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from celery_breaker.plugin.app import breakers_of
from celery_breaker.testing import Breakers, in_memory

NOWHERE = "redis://127.0.0.1:1/0"


def make_app(name: str = "shop", **conf: Any) -> Celery:
    app = Celery(name, broker=NOWHERE, backend=NOWHERE, set_as_current=False)
    app.conf.update(task_always_eager=True, breaker_store_timeout=0.2, **conf)
    return app


@pytest.fixture
def app() -> Iterator[Celery]:
    app = make_app(breakers={"bank": {"max_failures": 2, "recovery_timeout": 30}, "mail": {}})
    yield app
    breakers_of(app).forget()


@pytest.fixture
def breakers_app(app: Celery) -> Celery:
    return app


@pytest.fixture
def memory(app: Celery) -> Iterator[Breakers]:
    with in_memory(app) as breakers:
        yield breakers
