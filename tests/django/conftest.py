"""Databases of each kind for the Django store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from celery_breaker.stores.cas import CasStore
from celery_breaker.stores.django import DjangoStore, DjangoValues
from tests.support import django_stores

Entry = dict[str, Any]
Opened = Callable[..., CasStore]


KINDS = ["sqlite", "postgresql", "mariadb"]


def values_of(store: CasStore) -> DjangoValues:
    assert isinstance(store._values, DjangoValues)
    return store._values


def new_entry(kind: str, request: pytest.FixtureRequest, folder: Path) -> Entry:
    """An empty database of this kind."""
    if kind == "sqlite":
        return django_stores.sqlite_entry(folder / "db.sqlite3")
    server = request.getfixturevalue("postgres_server" if kind == "postgresql" else "mariadb_server")
    return dict(server.django_for(server.add_database()))


@pytest.fixture(scope="session", autouse=True)
def _django() -> None:
    django_stores.set_up()


@pytest.fixture(params=KINDS)
def entry(request: pytest.FixtureRequest, tmp_path: Path) -> Entry:
    """The `DATABASES` entry of an empty database, of each kind."""
    return new_entry(request.param, request, tmp_path)


@pytest.fixture
def opened() -> Iterator[Opened]:
    """`opened(alias, prefix=…, timeout=…)` → a store, closed with the test as Django's own connections are."""
    from django.db import connections

    stores: list[CasStore] = []

    def make(alias: str | None, **options: Any) -> CasStore:
        stores.append(DjangoStore(alias, **{"timeout": 10.0, **options}))
        return stores[-1]

    yield make
    for store in stores:
        store.close()
    connections.close_all()


def created(alias: str, work: Callable[[], object]) -> int:
    """How many connections ``work`` made to this database, the user's among them."""
    from django.db.backends.signals import connection_created

    seen: list[object] = []

    def note(connection: Any, **_: Any) -> None:
        if connection.alias == alias:
            seen.append(connection)

    connection_created.connect(note)
    try:
        work()
    finally:
        connection_created.disconnect(note)
    return len(seen)
