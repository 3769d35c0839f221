"""The store when its database is away, hangs or is locked, and when its own process forks or is interrupted."""

from __future__ import annotations

import sqlite3
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from celery_breaker.core.windows import Delta
from celery_breaker.errors import StoreError
from tests.django.conftest import Entry, Opened, created, values_of
from tests.stores.operations import FAILURE, OPEN, OPERATIONS, WINDOW, share_with_children, use_all
from tests.support import django_stores
from tests.support.forks import held_by_a_thread, in_child
from tests.support.limits import at_most, raised_after
from tests.support.servers_postgres import PostgresServer
from tests.support.servers_sql import SQLServer
from tests.support.waiting import eventually


@pytest.fixture(params=["make_postgres", "make_mariadb"])
def server(request: pytest.FixtureRequest) -> SQLServer:
    """One that a test may kill or freeze."""
    made: SQLServer = request.getfixturevalue(request.param)()
    return made


def connect(entry: Entry) -> Any:
    """A client that has nothing to do with Django; its transaction begins by itself."""
    parts = {"host": entry.get("HOST"), "user": entry.get("USER"), "password": entry.get("PASSWORD")}
    if "sqlite" in entry["ENGINE"]:
        return sqlite3.connect(entry["NAME"])
    if "postgresql" in entry["ENGINE"]:
        import psycopg

        return psycopg.connect(**parts, port=entry["PORT"], dbname=entry["NAME"])
    import pymysql

    return pymysql.connect(**parts, port=int(entry["PORT"]), database=entry["NAME"])


@contextmanager
def rows_locked(entry: Entry) -> Iterator[None]:
    """While all rows are written by a transaction of somebody else."""
    with closing(connect(entry)) as connection:
        connection.cursor().execute("UPDATE celery_breaker_storedvalue SET expires = expires")
        yield
        connection.rollback()


@dataclass(frozen=True)
class Shared:
    """A new database, with the table, of a server that others use too."""

    server: SQLServer
    name: str
    entry: Entry
    alias: str

    def clients(self) -> set[int]:
        return self.server.clients(self.name)


@pytest.fixture
def shared(request: pytest.FixtureRequest) -> Shared:
    server: SQLServer = request.getfixturevalue(request.param)
    name = server.add_database()
    entry = server.django_for(name)
    return Shared(server, name, entry, django_stores.migrate(entry))


on_servers = pytest.mark.parametrize("shared", ["postgres_server", "mariadb_server"], indirect=True)


# --- outages ----------------------------------------------------------------------------------------------------------


def test_a_server_that_is_away_is_an_outage_and_back_it_has_what_was_kept(server: SQLServer, opened: Opened) -> None:
    alias = django_stores.migrate(server.django)
    store = opened(alias, timeout=5.0)
    use_all(store)
    server.kill()
    for operation in OPERATIONS.values():
        with pytest.raises(StoreError, match=f"django-db://{alias}"), at_most(5.0):
            operation(store)
    server.start()
    use_all(store, version=1, failures=2)


def test_a_server_that_hangs_costs_no_more_than_the_timeout(server: SQLServer, opened: Opened) -> None:
    on_postgres = isinstance(server, PostgresServer)
    timeout = 0.3 if on_postgres else 1.0  # MySQL's drivers count whole seconds
    store = opened(django_stores.migrate(server.django), timeout=timeout)
    use_all(store)
    for name in OPERATIONS if on_postgres else ("swap",):
        server.pause()
        try:
            with (
                pytest.raises(StoreError, match=r"no answer within|timed out"),
                at_most(timeout, at_least=timeout * 0.9),
            ):
                OPERATIONS[name](store)
            with pytest.raises(StoreError, match=r"no connection within|timed out|timeout"), at_most(timeout):
                store.now()
        finally:
            server.resume()
        eventually(lambda: store.now() > 0, ignore=(StoreError,))


@on_servers
def test_connections_that_the_server_closed_while_they_lay_idle_are_no_failure(shared: Shared, opened: Opened) -> None:
    store = opened(shared.alias, timeout=5.0)
    use_all(store)
    for operation in ("read", "names", "forget", "now", "tally", "lease"):
        two = [values_of(store)._take() for _ in range(2)]
        for line in two:
            values_of(store)._give_back(line)
        shared.server.cut(shared.name)
        OPERATIONS[operation](store)


# --- locks ------------------------------------------------------------------------------------------------------------


def test_a_lock_of_somebody_else_costs_a_write_no_more_than_the_timeout(entry: Entry, opened: Opened) -> None:
    timeout = 1.0
    store = opened(django_stores.migrate(entry), timeout=timeout)
    use_all(store)
    with rows_locked(entry):
        assert store.read(["smtp"]).records["smtp"].version == 1
        with pytest.raises(StoreError), at_most(timeout, at_least=timeout * 0.8):
            store.swap(OPEN, expected=1)
    use_all(store, version=1, failures=2)


@on_servers
def test_writes_that_were_given_up_do_not_wait_on_in_the_server(shared: Shared, opened: Opened) -> None:
    """Each would keep a connection of the server for as long as the lock is held, until it has none left."""
    store = opened(shared.alias, timeout=1.0)
    use_all(store)
    with rows_locked(shared.entry):
        for _ in range(3):
            with pytest.raises(StoreError):
                store.swap(OPEN, expected=1)
        eventually(lambda: len(shared.clients()) <= 1 + 2, lambda: f"{shared.clients()}")  # who locks, and what is kept


def test_a_pooler_that_lets_no_limit_through_is_connected_to_without(
    postgres_server: PostgresServer, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg
    from django.db.backends.postgresql.base import Database

    real, given = Database.connect, []

    def connect(**parameters: Any) -> Any:
        given.append(parameters.get("options"))
        if "statement_timeout" in (parameters.get("options") or ""):
            raise psycopg.OperationalError("FATAL:  unsupported startup parameter in options: statement_timeout")
        return real(**parameters)

    alias = django_stores.migrate(postgres_server.django_for(postgres_server.add_database()))
    monkeypatch.setattr(Database, "connect", connect)
    use_all(opened(alias))
    assert [options is None for options in given] == [False, True]


# --- interrupted, threads, forks --------------------------------------------------------------------------------------


class TimeLimit(BaseException):
    """As a signal handler raises it in the midst of anything."""


@on_servers
def test_a_time_limit_in_the_midst_of_a_statement_leaks_no_connection(shared: Shared, opened: Opened) -> None:
    store = opened(shared.alias, timeout=3.0)
    use_all(store)
    with rows_locked(shared.entry):
        for _ in range(3):
            with pytest.raises(TimeLimit), raised_after(0.1, TimeLimit):
                store.swap(OPEN, expected=1)
    assert values_of(store)._idle == []
    eventually(lambda: not shared.clients())
    found = store.read(["smtp"]).records["smtp"]  # what the server was asked for, it may have done
    use_all(store, version=found.version, failures=2)


def test_a_time_limit_while_it_connects_leaks_no_connection(
    make_postgres: Callable[..., PostgresServer], opened: Opened
) -> None:
    server = make_postgres()
    store = opened(django_stores.migrate(server.django), timeout=30.0)
    server.pause()
    with pytest.raises(TimeLimit), raised_after(0.2, TimeLimit):
        store.now()
    server.resume()
    eventually(lambda: not server.clients(server.database))
    use_all(store)


@on_servers
def test_more_threads_than_connections_are_kept_leak_none(shared: Shared, opened: Opened) -> None:
    store = opened(shared.alias)
    together = threading.Barrier(8)

    def count(number: int) -> None:
        for _ in range(5):
            together.wait(20)
            store.tally("smtp", FAILURE, WINDOW, generation=0, worker=str(number))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(count, range(8)))
    totals = store.tally("smtp", Delta(), WINDOW, generation=0, worker="")
    assert totals.workers == {str(number): 5 for number in range(8)}
    eventually(lambda: len(shared.clients()) <= 2, lambda: f"{shared.clients()}")


@pytest.mark.timeout(30)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@on_servers
def test_a_child_is_not_kept_by_what_a_thread_of_its_parent_held(shared: Shared, opened: Opened) -> None:
    store = opened(shared.alias)

    def child() -> bool:
        store.after_fork()
        return store.now() > 0

    store.now()
    with held_by_a_thread(values_of(store)._lock, values_of(store)._deadlines._changed):
        assert in_child(child) == "True"
    assert store.now() > 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_has_connections_of_its_own(entry: Entry, opened: Opened) -> None:
    alias = django_stores.migrate(entry)
    store = opened(alias)
    use_all(store)

    def has_one_of_its_own() -> bool:
        store.after_fork()
        return created(alias, store.now) == 1

    share_with_children(store, ready=has_one_of_its_own)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_forks_with_no_file_of_sqlite_open(tmp_path: Path, opened: Opened) -> None:
    """The child would believe that it holds the locks of its parent, and write into what the parent writes."""
    path = tmp_path / "db.sqlite3"
    alias = django_stores.migrate(django_stores.sqlite_entry(path))
    store = opened(alias, timeout=20.0)
    store.now()
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            store.tally("smtp", FAILURE, WINDOW, generation=0, worker="a")

    def files_open() -> list[str]:
        return [file.path for file in psutil.Process().open_files() if file.path.startswith(str(path))]

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(write)
        try:
            found = [in_child(files_open) for _ in range(10)]
        finally:
            over.set()
        writing.result(20)
    assert found == ["[]"] * 10


# --- passwords --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["refused", "wrong", "quoted by the driver"])
def test_no_failure_shows_the_password(
    how: str, postgres_server: PostgresServer, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "s3cret word"
    changed = {"refused": {"PORT": "1"}, "wrong": {}, "quoted by the driver": {"USER": secret}}[how]
    alias = django_stores.database({**postgres_server.django, "PASSWORD": secret, **changed})
    store = opened(alias, timeout=5.0)
    with pytest.raises(StoreError) as caught:
        store.now()
    shown = "".join(traceback.format_exception(caught.value))
    assert "django-db://" in shown
    assert secret not in shown + repr(store) + repr(store._values) + store.url + caplog.text
