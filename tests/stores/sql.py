"""What the tests of the SQLAlchemy store share: a database for each test, and each operation of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from celery_breaker.core.record import Record, State
from celery_breaker.core.windows import Delta, Window
from celery_breaker.stores.base import Store
from celery_breaker.stores.cas import CasStore, Key
from celery_breaker.stores.sqlalchemy import SQLAlchemyStore, _Values
from tests.support.servers_mariadb import MariaDBServer
from tests.support.servers_postgres import PostgresServer
from tests.support.waiting import eventually

OPEN = Record(name="smtp", state=State.OPEN, generation=3, since=1.0, until=2.0, trips=1, reason="5 of 5 calls failed")
WINDOW = Window(span=86_400.0)
FAILURE = Delta().then(failed=True, slow=False)

OPERATIONS: dict[str, Callable[[CasStore], object]] = {
    "read": lambda store: store.read(["smtp"]),
    "tally": lambda store: store.tally("smtp", FAILURE, WINDOW, generation=0, worker="a"),
    "swap": lambda store: store.swap(OPEN, expected=0),
    "lease": lambda store: store.lease("key", "a", limit=1, ttl=60),
    "release": lambda store: store.release("key", "a"),
    "names": lambda store: store.names(),
    "forget": lambda store: store.forget("smtp"),
    "now": lambda store: store.now(),
}

_CONNECTIONS = {
    "postgresql": "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mysql": "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()",
}
_END = {"postgresql": "SELECT pg_terminate_backend({})", "mysql": "KILL {}"}


def use_all(store: Store, *, version: int = 0, failures: int = 1) -> None:
    """Each operation once."""
    assert store.read(["smtp"]).records["smtp"].version == version
    assert store.swap(OPEN, expected=version)
    assert store.read(["smtp"]).records["smtp"] == replace(OPEN, version=version + 1)
    assert store.tally("smtp", FAILURE, WINDOW, generation=3, worker="a").failures == failures
    assert store.lease("smtp:3:permit", "a", limit=1, ttl=60)
    assert not store.lease("smtp:3:permit", "b", limit=1, ttl=60)
    store.release("smtp:3:permit", "a")
    assert store.names() == ["smtp"]
    assert store.now() > 0


def values_of(store: CasStore) -> _Values:
    assert isinstance(store._values, _Values)
    return store._values


def place_of(store: CasStore, kind: Any, name: str) -> str:
    return values_of(store)._id(Key(kind, name))


@dataclass
class Database:
    """A database, and a client of it that has nothing to do with the store."""

    url: str
    stores: list[SQLAlchemyStore] = field(default_factory=list)

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

    def connections(self) -> list[int]:
        """All but the one that asks."""
        return [int(number) for (number,) in self.execute(_CONNECTIONS[self.kind])]

    def cut(self) -> None:
        """End the connections of others."""
        for number in self.connections():
            self.execute(_END[self.kind].format(number))
        eventually(lambda: not self.connections())


def new_database(request: pytest.FixtureRequest, kind: str) -> Database:
    """An empty one; on the session's server, or in a file of its own."""
    if kind == "sqlite":
        return Database(f"sqlite:///{request.getfixturevalue('tmp_path') / 'breakers.sqlite'}")
    server: Any = request.getfixturevalue({"postgresql": "postgres_server", "mariadb": "mariadb_server"}[kind])
    return Database(server.url_for(server.add_database()))


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


def hang(server: PostgresServer | MariaDBServer) -> None:
    """Return once it does: the signal reaches its threads one by one."""
    server.pause()
    leader = psutil.Process(server.pid)
    everyone = [leader, *leader.children(recursive=True)]
    eventually(lambda: {process.status() for process in everyone} == {psutil.STATUS_STOPPED})


def begin(_: Store, url: str) -> None:
    """In a process of its own: use a database for the first time."""
    store = SQLAlchemyStore(url, timeout=20.0)
    assert store.swap(OPEN, expected=0) or store.read(["smtp"]).records["smtp"].version == 1
    store.tally("smtp", FAILURE, WINDOW, generation=3, worker="a")
    store.close()
