"""The stores that row 12 measures, each with what its own server, asked through the same driver, takes at the least."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import uuid4

import redis
from pymemcache.client.base import PooledClient

from bench.servers import Servers
from celery_breaker.core.record import Record, encode
from celery_breaker.core.windows import Delta, Window
from celery_breaker.stores.base import Store
from celery_breaker.stores.cas import Key
from celery_breaker.stores.memcached import MemcachedStore
from celery_breaker.stores.memory import MemoryStore
from celery_breaker.stores.redis import RedisStore
from celery_breaker.stores.sqlalchemy import SQLAlchemyStore
from tests.support.django_stores import Entry, migrate, open_django, sqlite_entry

Opener = Callable[[], Store]
Operation = Callable[[], object]

TIMEOUT = 30.0
NAMES = [f"webhook:{number}.example.org" for number in range(100)]
_RECORD = Record(name=NAMES[0], reason="12 of 20 calls failed: ConnectionRefusedError", generation=7, trips=3)
_WINDOW = Window(span=60.0)
_FAILURE = Delta().then(failed=True, slow=False)
_WORKERS = [f"celery@worker-{number}.example.org:{1000 + number}" for number in range(8)]


@dataclass(frozen=True, slots=True)
class Bare:
    """What a server takes for one value under one key, read, and written for good; a cache is only asked."""

    read: Operation
    write: Operation


@dataclass(frozen=True, slots=True)
class Contender:
    """A store under measurement.

    Attributes:
        opener: opens it, also in another process.
        bare: from the store, whose data are there.
        bar: times the bare write that a tally may cost.
    """

    opener: Opener
    bare: Callable[[Store], Bare]
    bar: float | None = None


def contenders(servers: Servers) -> Iterator[tuple[str, Callable[[], Contender]]]:
    """Every store by name, with what starts its server; that may raise `MissingServer`."""
    yield "Redis", lambda: _redis(servers.redis().url)
    yield "memcached", lambda: _memcached(servers.memcached().port)
    yield "SQLAlchemy, PostgreSQL", lambda: _sql(servers.postgres().url)
    yield "SQLAlchemy, MariaDB", lambda: _sql(servers.mariadb().url)
    yield "SQLAlchemy, SQLite", lambda: _sql(f"sqlite:///{servers.new_folder('sqlite') / 'breakers.sqlite'}")
    yield "Django, PostgreSQL", lambda: _django(servers.postgres().django)
    yield "Django, MariaDB", lambda: _django(servers.mariadb().django)
    yield "Django, SQLite", lambda: _django(sqlite_entry(servers.new_folder("sqlite") / "breakers.sqlite"))


def memory() -> Store:
    """The store in memory, which has no server to be held against."""
    return MemoryStore()


def operations(store: Store) -> Mapping[str, Operation]:
    """What is measured: each call changes something, or reads what is there."""
    for name in NAMES:
        store.swap(replace(_RECORD, name=name), expected=0)
    versions, workers = itertools.count(1), itertools.cycle(_WORKERS)

    def swap() -> None:
        if not store.swap(_RECORD, expected=next(versions)):
            raise RuntimeError("a swap was lost though nobody else writes")

    return {
        "tally": lambda: store.tally(NAMES[0], _FAILURE, _WINDOW, generation=7, worker=next(workers)),
        "swap": swap,
        "read of 100 names": lambda: store.read(NAMES),
        "lease": lambda: store.lease("tend", _WORKERS[0], limit=1, ttl=60.0),
    }


def microseconds(operation: Operation, count: int) -> float:
    """Per call."""
    started = time.perf_counter()
    for _ in range(count):
        operation()
    return (time.perf_counter() - started) / count * 1e6


# --- servers ----------------------------------------------------------------------------------------------------------


def _redis(url: str) -> Contender:
    client = redis.Redis.from_url(url, socket_timeout=TIMEOUT)
    client.set("bare", encode(_RECORD))
    get = partial(client.get, "bare")
    return Contender(partial(RedisStore, url, prefix=uuid4().hex, timeout=TIMEOUT), lambda _: Bare(get, get), bar=1.5)


def _memcached(port: int) -> Contender:
    client = PooledClient(("127.0.0.1", port), timeout=TIMEOUT, connect_timeout=TIMEOUT, no_delay=True)
    client.set("bare", encode(_RECORD), noreply=False)
    get = partial(client.get, "bare")
    url = f"memcached://127.0.0.1:{port}"
    return Contender(partial(MemcachedStore, url, prefix=uuid4().hex, timeout=TIMEOUT), lambda _: Bare(get, get))


def _sql(url: str) -> Contender:
    prefix = uuid4().hex

    def bare(store: Any) -> Bare:
        connection = store._values._engine.raw_connection()  # set up as the store's own are
        return _rows(connection.driver_connection, "celery_breaker_values", "value", prefix)

    return Contender(partial(SQLAlchemyStore, url, prefix=prefix, timeout=TIMEOUT), bare, bar=2.0)


def _django(entry: Entry) -> Contender:
    migrate(entry)
    prefix = uuid4().hex

    def bare(store: Any) -> Bare:
        connection = store._values._take().wrapper.connection  # set up as the store's own are
        return _rows(connection, "celery_breaker_storedvalue", "body", prefix)

    return Contender(partial(open_django, entry, prefix, TIMEOUT), bare, bar=2.0)


def _rows(connection: Any, table: str, column: str, prefix: str) -> Bare:
    """One row of the store's own table, by its key, on a connection that commits each statement."""
    mark = "?" if type(connection).__module__.startswith(("sqlite3", "django.db.backends.sqlite3")) else "%s"
    row = Key("record", NAMES[-1]).hashed(prefix)
    text = f"1 {encode(replace(_RECORD, name=NAMES[-1]))}"

    def run(statement: str, *values: object) -> Any:
        cursor = connection.cursor()
        try:
            cursor.execute(statement.replace("?", mark), values)
            return cursor.rowcount if statement.startswith("UPDATE") else cursor.fetchall()
        finally:
            cursor.close()

    tokens = itertools.count(1)

    def read() -> None:
        if len(run(f"SELECT {column}, token FROM {table} WHERE id = ?", row)) != 1:
            raise RuntimeError("the row is not there")

    def write() -> None:
        if run(f"UPDATE {table} SET {column} = ?, token = ? WHERE id = ?", text, next(tokens), row) != 1:
            raise RuntimeError("the row is not there")

    return Bare(read, write)
