"""Fixtures of the chaos tests: chance, with its seed printed, and pytest-celery's on local processes."""

from __future__ import annotations

import pytest

from tests.chaos.chance import LONG, SEED, Chance
from tests.support.nodes import *  # noqa: F403  (pytest-celery's fixtures, on local processes)


@pytest.fixture
def chance() -> Chance:
    taken = Chance.take()
    print(f"{SEED}={taken.seed}")  # noqa: T201  (pytest shows it when the test fails, and with -s)
    return taken


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if LONG:
        for item in items:
            item.add_marker(pytest.mark.timeout(1800))
