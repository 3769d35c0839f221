"""What the tests of the SQLAlchemy store share: a database for each test, and each operation of a store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from celery_breaker.stores.base import Store
from celery_breaker.stores.cas import CasStore, Key
from celery_breaker.stores.sqlalchemy import SQLAlchemyStore, _Values
from tests.stores.operations import FAILURE, OPEN, WINDOW
from tests.support.servers_sql import SQLServer


def values_of(store: CasStore) -> _Values:
    assert isinstance(store._values, _Values)
    return store._values


def place_of(store: CasStore, kind: Any, name: str) -> str:
    return Key(kind, name).hashed(values_of(store)._prefix)


@dataclass
class Database:
    """A database, and a client of it that has nothing to do with the store."""

    url: str
    server: SQLServer | None = None
    stores: list[SQLAlchemyStore] = field(default_factory=list)

    @classmethod
    def on(cls, server: SQLServer) -> Database:
        return cls(server.url_for(server.add_database()), server)

    @property
    def name(self) -> str:
        return str(sa.make_url(self.url).database)

    @property
    def kind(self) -> str:
        return sa.make_url(self.url).get_backend_name()

    def store(self, **options: Any) -> SQLAlchemyStore:
        self.stores.append(SQLAlchemyStore(self.url, **{"timeout": 5.0, **options}))
        return self.stores[-1]

    @contextmanager
    def client(self, *, isolation_level: Any = "AUTOCOMMIT") -> Iterator[sa.Connection]:
        engine = sa.create_engine(self.url, poolclass=sa.NullPool, isolation_level=isolation_level)
        with engine.connect() as connection:
            yield connection

    def execute(self, statement: str, **values: Any) -> Sequence[Any]:
        with self.client() as client:
            result = client.execute(sa.text(statement), values)
            return result.all() if result.returns_rows else []

    def connections(self) -> set[int]:
        """The server's numbers of them."""
        assert self.server is not None
        return self.server.clients(self.name)

    def cut(self) -> None:
        """Have the server end all connections."""
        assert self.server is not None
        self.server.cut(self.name)


def new_database(request: pytest.FixtureRequest, kind: str) -> Database:
    """An empty one; on the session's server, or in a file of its own."""
    if kind == "sqlite":
        return Database(f"sqlite:///{request.getfixturevalue('tmp_path') / 'breakers.sqlite'}")
    return Database.on(request.getfixturevalue({"postgresql": "postgres_server", "mariadb": "mariadb_server"}[kind]))


@contextmanager
def closing(database: Database) -> Iterator[Database]:
    yield database
    for store in database.stores:
        store.close()


def open_files() -> list[str]:
    """What each of our descriptors leads to."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one that lists them is gone by now
            found.append(str(link.readlink()))
    return found


def begin(_: Store, url: str) -> None:
    """In a process of its own: use a database for the first time."""
    store = SQLAlchemyStore(url, timeout=20.0)
    assert store.swap(OPEN, expected=0) or store.read(["smtp"]).records["smtp"].version == 1
    store.tally("smtp", FAILURE, WINDOW, generation=3, worker="a")
    store.close()
