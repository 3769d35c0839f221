"""Nodes for the tests with workers, in either form, and peace with Django where another test has imported it."""

from __future__ import annotations

import sys

import pytest

from tests.integration.commands import commands  # noqa: F401  (a fixture)
from tests.support import django_stores
from tests.support.containers import contained
from tests.support.nodes import *  # noqa: F403  (pytest-celery's fixtures, on nodes of ours)


def pytest_runtest_setup(item: pytest.Item) -> None:
    marker = item.get_closest_marker("processes")
    if marker is not None and contained():
        pytest.skip(f"on processes alone: {marker.args[0]}")


@pytest.fixture(autouse=True, scope="session")
def _django_can_be_looked_at() -> None:
    """As it ends, a backend of pytest-celery looks at every object that there is; Django's must bear that."""
    if "django.conf" in sys.modules:
        django_stores.set_up()
