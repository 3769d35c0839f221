"""The store when its database is away, hangs or is locked, and when its own process forks or is interrupted."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from celery_breaker.core.windows import Delta
from celery_breaker.errors import StoreError
from celery_breaker.stores.cas import CasStore
from tests.django.conftest import Entry, Opened, created, values_of
from tests.stores.operations import FAILURE, OPEN, OPERATIONS, WINDOW, use_all
from tests.support import django_stores
from tests.support.forks import held_by_a_thread, in_child
from tests.support.servers_mariadb import MariaDBServer
from tests.support.servers_postgres import PostgresServer
from tests.support.waiting import eventually

Server = PostgresServer | MariaDBServer

SLACK = 1.0
"""Seconds that a busy machine may add."""


@pytest.fixture(params=["make_postgres", "make_mariadb"])
def server(request: pytest.FixtureRequest) -> Server:
    """One that a test may kill or freeze."""
    made: Server = request.getfixturevalue(request.param)()
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


def clients(entry: Entry) -> set[int]:
    """Ids of the connections to this database, but for the one that asks."""
    if "postgresql" in entry["ENGINE"]:
        statement = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    else:
        statement = "SELECT id FROM information_schema.processlist WHERE db = %s AND id <> connection_id()"
    with closing(connect(entry)) as connection:
        cursor = connection.cursor()
        cursor.execute(statement, [entry["NAME"]])
        return {int(number) for (number,) in cursor.fetchall()}


def end_all(entry: Entry) -> None:
    """Have the server close all connections to this database, as it does with those that were idle for long."""
    terminate = "SELECT pg_terminate_backend(%s)" if "postgresql" in entry["ENGINE"] else "KILL %s"
    there = clients(entry)
    with closing(connect(entry)) as connection:
        for number in there:
            connection.cursor().execute(terminate, [number])
    eventually(lambda: not clients(entry))


@contextmanager
def rows_locked(entry: Entry) -> Iterator[None]:
    """While all rows are written by a transaction of somebody else."""
    with closing(connect(entry)) as connection:
        connection.cursor().execute("UPDATE celery_breaker_storedvalue SET expires = expires")
        yield
        connection.rollback()


@pytest.fixture
def shared(request: pytest.FixtureRequest) -> Entry:
    """A new database, with the table, of a server that others use too."""
    server = request.getfixturevalue(request.param)
    entry: Entry = server.django_for(server.add_database())
    django_stores.migrate(entry)
    return entry


on_servers = pytest.mark.parametrize("shared", ["postgres_server", "mariadb_server"], indirect=True)


# --- outages ----------------------------------------------------------------------------------------------------------


def test_a_server_that_is_away_is_an_outage_and_back_it_has_what_was_kept(server: Server, opened: Opened) -> None:
    alias = django_stores.migrate(server.django)
    store = opened(alias, timeout=5.0)
    use_all(store)
    server.kill()
    for operation in OPERATIONS.values():
        started = time.monotonic()
        with pytest.raises(StoreError, match=f"django-db://{alias}"):
            operation(store)
        assert time.monotonic() - started < 5.0 + SLACK
    server.start()
    use_all(store, version=1, failures=2)


def test_a_server_that_hangs_costs_no_more_than_the_timeout(server: Server, opened: Opened) -> None:
    on_postgres = isinstance(server, PostgresServer)
    timeout = 0.3 if on_postgres else 1.0  # MySQL's drivers count whole seconds
    store = opened(django_stores.migrate(server.django), timeout=timeout)
    use_all(store)
    for name in OPERATIONS if on_postgres else ("swap",):
        server.pause()
        took = how_long(OPERATIONS[name], store, match=r"no answer within|timed out")
        connecting = how_long(OPERATIONS["now"], store, match=r"no connection within|timed out|timeout")
        server.resume()
        assert timeout * 0.9 < took < timeout + SLACK, name
        assert connecting < timeout + SLACK
        eventually(lambda: store.now() > 0, ignore=(StoreError,))


def how_long(operation: Callable[[CasStore], object], store: CasStore, *, match: str) -> float:
    """Seconds until it fails."""
    started = time.monotonic()
    with pytest.raises(StoreError, match=match):
        operation(store)
    return time.monotonic() - started


@on_servers
def test_connections_that_the_server_closed_while_they_lay_idle_are_no_failure(shared: Entry, opened: Opened) -> None:
    store = opened(django_stores.database(shared), timeout=5.0)
    use_all(store)
    for operation in ("read", "names", "forget", "now", "tally", "lease"):
        two = [values_of(store)._take() for _ in range(2)]
        for line in two:
            values_of(store)._give_back(line)
        end_all(shared)
        OPERATIONS[operation](store)


# --- locks ------------------------------------------------------------------------------------------------------------


def test_a_lock_of_somebody_else_costs_a_write_no_more_than_the_timeout(entry: Entry, opened: Opened) -> None:
    timeout = 1.0
    store = opened(django_stores.migrate(entry), timeout=timeout)
    use_all(store)
    with rows_locked(entry):
        assert store.read(["smtp"]).records["smtp"].version == 1
        started = time.monotonic()
        with pytest.raises(StoreError):
            store.swap(OPEN, expected=1)
        assert timeout * 0.8 < time.monotonic() - started < timeout + SLACK
    use_all(store, version=1, failures=2)


@on_servers
def test_writes_that_were_given_up_do_not_wait_on_in_the_server(shared: Entry, opened: Opened) -> None:
    """Each would keep a connection of the server for as long as the lock is held, until it has none left."""
    store = opened(django_stores.database(shared), timeout=1.0)
    use_all(store)
    with rows_locked(shared):
        for _ in range(3):
            with pytest.raises(StoreError):
                store.swap(OPEN, expected=1)
        eventually(lambda: len(clients(shared)) <= 1 + 2, lambda: f"{clients(shared)}")  # who locks, and what is kept


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


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    def end(*_: object) -> None:
        raise TimeLimit

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@on_servers
def test_a_time_limit_in_the_midst_of_a_statement_leaks_no_connection(shared: Entry, opened: Opened) -> None:
    store = opened(django_stores.database(shared), timeout=3.0)
    use_all(store)
    with rows_locked(shared):
        for _ in range(3):
            with pytest.raises(TimeLimit), time_limit(0.1):
                store.swap(OPEN, expected=1)
    assert values_of(store)._idle == []
    eventually(lambda: not clients(shared))
    found = store.read(["smtp"]).records["smtp"]  # what the server was asked for, it may have done
    use_all(store, version=found.version, failures=2)


def test_a_time_limit_while_it_connects_leaks_no_connection(
    make_postgres: Callable[..., PostgresServer], opened: Opened
) -> None:
    server = make_postgres()
    store = opened(django_stores.migrate(server.django), timeout=30.0)
    server.pause()
    with pytest.raises(TimeLimit), time_limit(0.2):
        store.now()
    server.resume()
    eventually(lambda: not clients(server.django))
    use_all(store)


@on_servers
def test_more_threads_than_connections_are_kept_leak_none(shared: Entry, opened: Opened) -> None:
    store = opened(django_stores.database(shared))
    together = threading.Barrier(8)

    def count(number: int) -> None:
        for _ in range(5):
            together.wait(20)
            store.tally("smtp", FAILURE, WINDOW, generation=0, worker=str(number))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(count, range(8)))
    totals = store.tally("smtp", Delta(), WINDOW, generation=0, worker="")
    assert totals.workers == {str(number): 5 for number in range(8)}
    eventually(lambda: len(clients(shared)) <= 2, lambda: f"{clients(shared)}")


@pytest.mark.timeout(30)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@on_servers
def test_a_child_is_not_kept_by_what_a_thread_of_its_parent_held(shared: Entry, opened: Opened) -> None:
    store = opened(django_stores.database(shared))

    def child() -> bool:
        store.after_fork()
        return store.now() > 0

    store.now()
    with held_by_a_thread(values_of(store)._lock, values_of(store)._deadlines._changed):
        assert in_child(child) == "True"
    assert store.now() > 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_has_connections_of_its_own(entry: Entry, opened: Opened) -> None:
    alias = django_stores.migrate(entry)
    store = opened(alias)
    use_all(store)
    pids = []
    for number in range(3):
        if not (pid := os.fork()):
            done = 1
            try:
                store.after_fork()
                assert created(alias, store.now) == 1
                for _ in range(10):
                    store.tally("sms", FAILURE, WINDOW, generation=0, worker=str(number))
                store.close()
                done = 0
            finally:
                os._exit(done)
        pids.append(pid)
    seen = {store.read(["smtp"]).records["smtp"].reason for _ in range(100)}
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 3
    assert seen == {OPEN.reason}
    totals = store.tally("sms", Delta(), WINDOW, generation=0, worker="")
    assert totals.workers == {str(number): 10 for number in range(3)}


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
