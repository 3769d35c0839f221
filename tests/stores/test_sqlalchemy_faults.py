"""SQL databases that die, hang, are locked or hang up; time limits in mid-call; and forks."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from celery_breaker.core.windows import Delta
from celery_breaker.errors import StoreError
from celery_breaker.stores.cas import Key
from celery_breaker.stores.sqlalchemy import SQLAlchemyStore, table
from tests.stores.operations import FAILURE, OPEN, OPERATIONS, WINDOW, share_with_children, use_all
from tests.stores.sql import Database, closing, new_database, values_of
from tests.support.forks import held_by_a_thread, in_child
from tests.support.limits import at_most, raised_after
from tests.support.servers import lent
from tests.support.servers_mariadb import new_mariadb
from tests.support.servers_postgres import new_postgres
from tests.support.servers_sql import SQLServer
from tests.support.waiting import eventually

KINDS = ["postgresql", "mariadb"]
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    with closing(new_database(request, request.param)) as database:
        yield database


@pytest.fixture(scope="module", params=KINDS)
def frail(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SQLServer]:
    """A server that a test may kill or freeze, and leaves running."""
    new: Any = new_mariadb if request.param == "mariadb" else new_postgres
    yield from lent(new, tmp_path_factory, request.param)


# --- connections ------------------------------------------------------------------------------------------------------


def test_a_killed_server_is_a_store_error_in_time_and_comes_back_with_all_that_was_kept(frail: SQLServer) -> None:
    with closing(Database.on(frail)) as database:
        store = database.store(timeout=1.0)
        use_all(store)
        assert store.lease("tend", "gone", limit=1, ttl=600)
        frail.kill()
        for operation in OPERATIONS.values():
            with pytest.raises(StoreError, match=r"127\.0\.0\.1:\d+/breaker_"), at_most(1.0):
                operation(store)
        frail.start()
        assert store.read(["smtp"]).records["smtp"] == replace(OPEN, version=1)
        assert not store.lease("tend", "other", limit=1, ttl=600)
        use_all(store, version=1, failures=2)


def test_a_restart_that_nobody_noticed_is_no_failure(frail: SQLServer) -> None:
    with closing(Database.on(frail)) as database:
        store = database.store()
        use_all(store)
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: store.now(), range(80)))
        frail.kill()
        frail.start()
        use_all(store, version=1, failures=2)
        store.forget("smtp")


def test_a_server_that_hangs_costs_no_more_than_the_timeout(frail: SQLServer) -> None:
    with closing(Database.on(frail)) as database:
        store, newcomer = database.store(timeout=0.3), database.store(timeout=0.3)
        use_all(store)
        for operation in OPERATIONS.values():
            eventually(store.now, ignore=(StoreError,))
            frail.pause()
            try:
                with pytest.raises(StoreError), at_most(0.3):
                    operation(store)
            finally:
                frail.resume()
        eventually(store.now, ignore=(StoreError,))
        frail.pause()
        try:
            with pytest.raises(StoreError), at_most(0.3):
                newcomer.read(["smtp"])
            with pytest.raises(StoreError), at_most(0.3):
                OPERATIONS["forget"](store)
            with pytest.raises(StoreError), at_most(0.3):
                store.read(["smtp"])  # has to connect anew
        finally:
            frail.resume()
        eventually(newcomer.now, ignore=(StoreError,))
        eventually(lambda: len(database.connections()) <= 2, lambda: f"{database.connections()} should have ended")


def test_a_connection_that_was_closed_while_it_lay_idle_is_no_failure(database: Database) -> None:
    store = database.store()
    use_all(store)
    for operation in OPERATIONS.values():
        database.cut()
        operation(store)


def test_of_many_connections_that_were_closed_none_is_in_the_way(database: Database) -> None:
    store = database.store(engine_options={"pool_size": 6})
    store.now()
    together = threading.Barrier(6)

    def use(_: object) -> None:
        with values_of(store)._connection(time.monotonic() + 20):
            together.wait(20)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(use, range(6)))
    assert len(database.connections()) == 6
    database.cut()
    for _ in range(6):
        store.now()


@contextmanager
def locked(database: Database) -> Iterator[None]:
    """Every row is held by a transaction of somebody else."""
    with database.client(isolation_level="READ COMMITTED") as other, other.begin():
        other.execute(sa.select(table).with_for_update()).all()
        yield


@pytest.mark.parametrize("operation", ["tally", "swap", "lease", "release", "forget"])
def test_a_row_that_somebody_else_locks_costs_no_more_than_the_timeout(database: Database, operation: str) -> None:
    store = database.store(timeout=0.5)
    for writing in ("lease", "tally"):
        OPERATIONS[writing](store)
    values_of(store).save(Key("record", "smtp"), "", over=None, ttl=None)  # of no version, and to be written over
    with locked(database):
        with pytest.raises(StoreError, match=r"(?i)timeout|max_statement_time|not done within 0\.5 s"), at_most(0.5):
            OPERATIONS[operation](store)
        store.read(["smtp"])
    OPERATIONS[operation](store)


# --- deadlocks --------------------------------------------------------------------------------------------------------

_TRIGGERS = {
    "postgresql": [
        "CREATE SEQUENCE tries",
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF nextval('tries') <= 2 THEN RAISE EXCEPTION 'deadlock' USING ERRCODE = '{state}'; END IF;
           RETURN NEW; END $$""",
        "CREATE TRIGGER refuse BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()",
    ],
    "mysql": [
        "CREATE SEQUENCE tries",
        """CREATE TRIGGER refuse BEFORE UPDATE ON {table} FOR EACH ROW IF nextval(tries) <= 2
           THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'deadlock'; END IF""",
    ],
}


@pytest.mark.parametrize("state", ["40P01", "40001"])
def test_a_statement_that_met_another_in_a_deadlock_is_tried_again(database: Database, state: str) -> None:
    store = database.store()
    store.tally("smtp", FAILURE, WINDOW, generation=0, worker="a")
    with database.client() as client:
        for statement in _TRIGGERS[database.kind]:
            client.exec_driver_sql(statement.format(table=table.name, state=state))
    assert store.tally("smtp", FAILURE, WINDOW, generation=0, worker="a").failures == 2


def test_a_database_that_is_serializable_by_default_loses_nothing(database: Database) -> None:
    if database.kind == "postgresql":
        database.execute(f"ALTER DATABASE {database.name} SET default_transaction_isolation = 'serializable'")
        options = {}
    else:
        options = {"connect_args": {"init_command": "SET SESSION tx_isolation = 'SERIALIZABLE'"}}
    store = database.store(timeout=20.0, engine_options=options)

    def work(number: int) -> None:
        for _ in range(20):
            store.tally("smtp", FAILURE, WINDOW, generation=0, worker=str(number))

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    assert store.tally("smtp", Delta(), WINDOW, generation=0, worker="").failures == 120


# --- time limits in mid-call ------------------------------------------------------------------------------------------


class LimitError(Exception):
    """As a soft time limit, which is an ordinary exception."""


class ExitLimit(BaseException):
    """As gevent's, or the interpreter's own."""


@pytest.mark.parametrize("error", [LimitError, ExitLimit])
def test_a_time_limit_in_mid_call_leaves_no_connection_that_answers_what_another_asked(
    database: Database, error: type[BaseException]
) -> None:
    store = database.store(engine_options={"pool_size": 1, "max_overflow": 0})
    use_all(store)
    for _ in range(2):
        with locked(database), pytest.raises((error, StoreError)), at_most(0.2), raised_after(0.2, error):
            store.tally("smtp", FAILURE, WINDOW, generation=3, worker="a")
        assert store.read(["smtp"]).records["smtp"] == replace(OPEN, version=1)
    eventually(lambda: len(database.connections()) == 1, lambda: f"{database.connections()} should be one")
    counted = store.tally("smtp", FAILURE, WINDOW, generation=3, worker="a").failures
    assert 2 <= counted <= 4, "what was given up may have been written once the lock was gone, and no more than once"


# --- forks ------------------------------------------------------------------------------------------------------------


_NUMBER = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT connection_id()"}


def backend(store: SQLAlchemyStore) -> int:
    """The server's number of the store's connection."""
    question = _NUMBER[values_of(store)._engine.url.get_backend_name()]
    return int(values_of(store)._run(lambda link: link.exec_driver_sql(question).scalar_one()))


def test_a_child_has_connections_of_its_own(database: Database) -> None:
    store = database.store()
    use_all(store)
    ours = backend(store)

    def has_its_own() -> bool:
        store.after_fork()
        return backend(store) != ours

    share_with_children(store, ready=has_its_own)
    assert backend(store) == ours
    eventually(lambda: len(database.connections()) == 1)


@pytest.mark.timeout(30)
def test_a_child_is_not_kept_by_what_a_thread_of_its_parent_held(database: Database) -> None:
    def child() -> bool:
        store.after_fork()
        use_all(store, version=1, failures=2)
        return True

    store = database.store()
    use_all(store)
    values = values_of(store)
    pool: Any = values._engine.pool
    with held_by_a_thread(pool._pool.mutex, pool._overflow_lock, values._deadlines._changed):
        assert in_child(child) == "True"
    use_all(store, version=2, failures=3)


_CHILD_ENDS = """
import os, sys
from celery_breaker.stores.sqlalchemy import SQLAlchemyStore

def backend():
    return store._values._run(lambda link: link.exec_driver_sql(sys.argv[2]).scalar_one())

store = SQLAlchemyStore(sys.argv[1], timeout=5.0)
ours = backend()
if not (pid := os.fork()):
    store.after_fork()
    store.now()
    sys.exit()
assert os.waitpid(pid, 0)[1] == 0
assert backend() == ours
"""


def test_a_child_that_ends_in_order_does_not_hang_up_for_its_parent(database: Database) -> None:
    argv = [sys.executable, "-W", "ignore", "-c", _CHILD_ENDS, database.url, _NUMBER[database.kind]]
    assert subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60).stderr == ""
