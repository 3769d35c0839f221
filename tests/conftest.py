"""Fixtures for every test. They are lazy: a unit test starts nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

# Before the plugins: they import each other, and what is imported already cannot be rewritten any more.
pytest.register_assert_rewrite("tests.support")

pytest_plugins = [
    "tests.support.redis_topologies",
    "tests.support.servers",
    "tests.support.servers_mariadb",
    "tests.support.servers_memcached",
    "tests.support.servers_postgres",
    "tests.support.servers_sqs",
    "tests.support.service",
    "tests.support.workers",
]

HERE = Path(__file__).parent
WITH_WORKERS = (HERE / "integration", HERE / "chaos", HERE / "web" / "browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(folder in item.path.parents for folder in WITH_WORKERS):
            item.add_marker(pytest.mark.integration)
