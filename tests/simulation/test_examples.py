"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import celery_breaker.simulation

MODULES = [module.name for module in pkgutil.iter_modules(celery_breaker.simulation.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    module = importlib.import_module(f"celery_breaker.simulation.{name}")
    assert doctest.testmod(module, raise_on_error=False).failed == 0, "see the captured output"
