"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import celery_breaker.core
import celery_breaker.engine
import celery_breaker.metrics
import celery_breaker.plugin
import celery_breaker.settings
import celery_breaker.status
import celery_breaker.stores
import celery_breaker.testing
import celery_breaker.web


def modules() -> Iterator[str]:
    yield from (f"celery_breaker.{leaf}" for leaf in ("clock", "errors"))
    rooms = (
        celery_breaker.settings,
        celery_breaker.core,
        celery_breaker.stores,
        celery_breaker.engine,
        celery_breaker.metrics,
        celery_breaker.status,
        celery_breaker.testing,
        celery_breaker.web,
        celery_breaker.plugin,
    )
    for room in rooms:
        found = pkgutil.walk_packages(room.__path__, prefix=f"{room.__name__}.")
        yield from (module.name for module in found)


@pytest.fixture(autouse=True)
def _tasks_of_examples_are_no_others() -> Iterator[None]:
    """A task that is shared, as all are unless told otherwise, would be in every app that is made from then on."""
    from celery import _state

    before = set(_state._on_app_finalizers)
    yield
    _state._on_app_finalizers.intersection_update(before)


@pytest.mark.parametrize("name", list(modules()))
def test_examples_are_true(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name), raise_on_error=False)
    assert failed == 0, "see the captured output"


def test_examples_are_found() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    tried = sum(len(example.examples) for name in modules() for example in finder.find(importlib.import_module(name)))
    assert tried > 20
