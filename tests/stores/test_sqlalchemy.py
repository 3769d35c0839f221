"""What concerns SQL databases alone: the table, the pool, the clock, what a call costs, and what lies where."""

from __future__ import annotations

import inspect
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect

from celery_breaker.core.record import Record, encode
from celery_breaker.core.windows import Delta, Window
from celery_breaker.errors import StoreError
from celery_breaker.stores.cas import Key
from celery_breaker.stores.memory import MemoryStore
from celery_breaker.stores.sqlalchemy import SQLAlchemyStore, metadata, table
from celery_breaker.testing.crew import Crew
from tests.stores.operations import FAILURE, OPEN, OPERATIONS, WINDOW, use_all
from tests.stores.sql import Database, begin, closing, new_database, place_of, values_of
from tests.support.waiting import eventually

KINDS = ["postgresql", "mariadb", "sqlite"]


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    with closing(new_database(request, request.param)) as database:
        yield database


@pytest.fixture(params=KINDS[:2])
def server(request: pytest.FixtureRequest) -> Iterator[Database]:
    """On one that is no file."""
    with closing(new_database(request, request.param)) as database:
        yield database


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# --- the table --------------------------------------------------------------------------------------------------------


def test_processes_that_need_the_table_at_the_same_time_all_go_on(request: pytest.FixtureRequest) -> None:
    crew = Crew(3)
    try:
        for _ in range(2):
            for kind in KINDS:
                database = new_database(request, kind)
                if kind == "sqlite":
                    database.url = database.url.replace("breakers", f"breakers-{time.monotonic_ns()}")
                crew.run(MemoryStore, begin, database.url)
                with closing(database):
                    store = database.store()
                    assert store.tally("smtp", Delta(), WINDOW, generation=3, worker="").failures == 3
                    assert store.read(["smtp"]).records["smtp"] == replace(OPEN, version=1)
    finally:
        crew.close()


def test_a_table_of_the_user_s_migrations_is_used_as_it_is(database: Database) -> None:
    with database.client() as client:
        metadata.create_all(client)
    database.execute(f"ALTER TABLE {table.name} ADD COLUMN noted INTEGER NOT NULL DEFAULT 7")
    with database.client() as client:
        before = [column["name"] for column in sa.inspect(client).get_columns(table.name)]
    use_all(database.store())
    with database.client() as client:
        assert [column["name"] for column in sa.inspect(client).get_columns(table.name)] == before
    assert {noted for (noted,) in database.execute(f"SELECT noted FROM {table.name}")} == {7}


def test_a_table_that_is_migrated_while_in_use_is_no_failure(database: Database) -> None:
    store = database.store()
    use_all(store)
    for version in range(1, 9):
        use_all(store, version=version, failures=version + 1)  # often enough for a driver to prepare its statements
    database.execute(f"ALTER TABLE {table.name} ADD COLUMN noted INTEGER NOT NULL DEFAULT 7")
    use_all(store, version=9, failures=10)


def test_a_table_that_was_dropped_while_in_use_is_made_anew(database: Database) -> None:
    store = database.store()
    use_all(store)
    database.execute(f"DROP TABLE {table.name}")
    use_all(store)


def test_any_operation_may_be_the_first(server: Database) -> None:
    for operation in OPERATIONS.values():
        operation(server.store())
        server.execute(f"DROP TABLE {table.name}")


def test_a_user_who_may_not_make_tables_is_told_what_to_do(server: Database) -> None:
    name = f"reader_{sa.make_url(server.url).database}"
    if server.kind == "postgresql":
        server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        server.execute(f"CREATE USER {name} PASSWORD 'secret-word'")
    else:
        server.execute(f"CREATE USER {name} IDENTIFIED BY 'secret-word'")
        server.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {sa.make_url(server.url).database}.* TO {name}")
    url = sa.make_url(server.url).set(username=name, password="secret-word")
    store = SQLAlchemyStore(url.render_as_string(hide_password=False), timeout=5.0)
    with pytest.raises(StoreError) as failure:
        store.read(["smtp"])
    assert f"there is no table {table.name}, and it cannot be made (" in str(failure.value)
    assert "denied" in str(failure.value)
    assert "let this user create tables, or add celery_breaker.stores.sqlalchemy.metadata" in str(failure.value)
    assert "\n" not in str(failure.value)
    with server.client() as client:
        metadata.create_all(client)
    if server.kind == "postgresql":
        server.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table.name} TO {name}")
    use_all(store)
    store.close()
    if server.kind == "postgresql":
        server.execute(f"DROP OWNED BY {name}")
    server.execute(f"DROP USER {name}")


# --- the pool ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine_options", [{}, {"pool_size": 1, "max_overflow": 1}], ids=["ours", "two"])
def test_more_threads_than_connections_wait_their_turn_and_lose_no_update(
    database: Database, engine_options: dict[str, int]
) -> None:
    store = database.store(engine_options=engine_options, timeout=20.0)
    store.now()

    def work(number: int) -> None:
        for _ in range(5):
            store.tally(f"webhook:{number % 10}", FAILURE, WINDOW, generation=0, worker=str(number))
            store.read(["smtp"])

    with ThreadPoolExecutor(30) as threads:
        list(threads.map(work, range(30)))
    totals = [store.tally(f"webhook:{number}", Delta(), WINDOW, generation=0, worker="") for number in range(10)]
    assert [total.failures for total in totals] == [15] * 10
    if database.kind != "sqlite":
        eventually(lambda: len(database.connections()) <= 2)
        store.close()
        eventually(lambda: not database.connections())


def test_nobody_waits_longer_than_the_timeout_for_a_connection(server: Database) -> None:
    store = server.store(timeout=0.5, engine_options={"pool_size": 1, "max_overflow": 0})
    use_all(store)
    took: list[float] = []

    def ask() -> None:
        started = time.monotonic()
        with pytest.raises(StoreError):
            store.now()
        took.append(time.monotonic() - started)

    with values_of(store)._engine.connect():
        threads = [threading.Thread(target=ask) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(took) == 10
    assert max(took) < 0.5 + 1.0, took
    use_all(store, version=1, failures=2)


def test_connections_are_given_back_after_errors(server: Database) -> None:
    store = server.store(engine_options={"pool_size": 1, "max_overflow": 0}, timeout=2.0)
    use_all(store)
    server.execute(f"ALTER TABLE {table.name} RENAME COLUMN token TO tokens")
    for operation in ("read", "tally", "swap", "lease", "release", "now"):
        with pytest.raises(StoreError, match="token"):
            OPERATIONS[operation](store)
    server.execute(f"ALTER TABLE {table.name} RENAME COLUMN tokens TO token")
    use_all(store, version=1, failures=2)
    assert len(server.connections()) == 1


# --- writing ----------------------------------------------------------------------------------------------------------


def test_what_is_written_is_seen_by_others_at_once(database: Database) -> None:
    store, other = database.store(), database.store()
    store.now()
    other.now()
    for version in range(10):
        assert store.swap(OPEN, expected=version)
        assert other.read(["smtp"]).records["smtp"].version == version + 1
        assert other.tally("smtp", FAILURE, WINDOW, generation=3, worker="a").failures == 2 * version + 1
        assert store.tally("smtp", FAILURE, WINDOW, generation=3, worker="a").failures == 2 * version + 2


def test_what_ran_out_is_swept_and_records_are_not(database: Database) -> None:
    store, stranger = database.store(), database.store(prefix="another app")
    for number in range(20):
        store.swap(Record(name=f"webhook:{number}"), expected=0)
        values_of(stranger).save(Key("lease", f"key:{number}"), "{}", over=None, ttl=0.001)
    store.tally("smtp", FAILURE, Window(span=60.0), generation=0, worker="a")
    values_of(store).save(Key("lease", "old"), "{}", over=None, ttl=0.001)

    def kept() -> list[tuple[str, int]]:
        counted = database.execute(f"SELECT kind, count(*) FROM {table.name} GROUP BY kind ORDER BY kind")
        return [(kind, int(number)) for kind, number in counted]

    assert kept() == [("lease", 21), ("record", 20), ("window", 1)]
    assert store.lease("new", "a", limit=1, ttl=60)
    assert kept() == [("lease", 22), ("record", 20), ("window", 1)], "it is not looked for each time"
    values_of(store)._next_sweep = 0.0
    store.lease("new", "b", limit=2, ttl=60)
    assert kept() == [("lease", 1), ("record", 20), ("window", 1)]


def test_prefixes_are_apart_also_where_the_database_ignores_case(database: Database) -> None:
    for prefix in ("app", "App", "app ", "äpp", "app\\", "a'pp", "app:record"):
        use_all(database.store(prefix=prefix))


@pytest.mark.parametrize("wrong", [-3600.0, 3600.0])
def test_the_clock_is_the_server_s(server: Database, monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    real = time.time
    right = server.store()
    assert right.lease("key", "a", limit=1, ttl=60)
    monkeypatch.setattr(time, "time", lambda: real() + wrong)
    store = server.store()
    assert abs(store.now() - real()) < 5
    assert abs(store.read(["smtp"]).now - real()) < 5
    assert not store.lease("key", "b", limit=1, ttl=60)
    values_of(store)._next_sweep = 0.0
    assert store.lease("other", "b", limit=1, ttl=60)
    assert not right.lease("key", "b", limit=1, ttl=60), "nothing was swept before its time"


def test_the_server_s_time_zone_changes_nothing(server: Database) -> None:
    statement = {
        "postgresql": f"ALTER DATABASE {sa.make_url(server.url).database} SET timezone = 'Asia/Kathmandu'",
        "mysql": "SET GLOBAL time_zone = '+05:45'",
    }[server.kind]
    server.execute(statement)
    try:
        assert abs(server.store().now() - time.time()) < 5
    finally:
        if server.kind == "mysql":
            server.execute("SET GLOBAL time_zone = 'SYSTEM'")


# --- what a call costs ------------------------------------------------------------------------------------------------


def test_a_read_is_one_statement_and_a_tally_two(database: Database) -> None:
    store = database.store()
    use_all(store)
    sent: list[str] = []

    def noted(connection: object, cursor: object, statement: str, *_: Any) -> None:
        sent.append(statement.split()[0])

    sa.event.listen(values_of(store)._engine, "before_cursor_execute", noted)

    def cost(work: Callable[[], object]) -> list[str]:
        sent.clear()
        work()
        return list(sent)

    assert cost(lambda: store.read(["smtp"])) == ["SELECT"]
    assert cost(lambda: store.read([f"webhook:{number}" for number in range(500)])) == ["SELECT"]
    assert cost(partial(OPERATIONS["tally"], store)) == ["SELECT"], "of another generation: nothing to write"
    assert cost(lambda: store.tally("smtp", FAILURE, WINDOW, generation=4, worker="a")) == ["SELECT", "UPDATE"]
    assert cost(partial(OPERATIONS["lease"], store)) == ["SELECT", "INSERT"]
    assert cost(partial(OPERATIONS["release"], store)) == ["SELECT", "UPDATE"]
    assert cost(lambda: store.swap(OPEN, expected=1)) == ["SELECT", "UPDATE"]
    assert cost(store.names) == ["SELECT"]
    assert cost(store.now) == ["SELECT"]
    assert cost(partial(OPERATIONS["forget"], store)) == ["SELECT", "DELETE"]


def trips(store: SQLAlchemyStore, kind: str, work: Callable[[], object]) -> int:
    """Round trips of ``work`` on the only connection, as the driver's trace or the server has them."""
    values = values_of(store)

    def asked() -> int:
        return int(values._run(lambda link: link.exec_driver_sql("SHOW SESSION STATUS LIKE 'Questions'").all())[0][1])

    if kind == "mysql":
        before = asked()
        work()
        return asked() - before - 1
    with tempfile.TemporaryFile() as file:
        links: list[Any] = []
        values._run(lambda link: links.append(link.connection.dbapi_connection.pgconn))
        links[0].trace(file.fileno())
        work()
        links[0].untrace()
        file.seek(0)
        messages = [line.split(b"\t")[3] for line in file.read().splitlines() if line.count(b"\t") >= 3]
    return sum(message.startswith((b"Sync", b"Query")) for message in messages)


def test_no_transaction_is_begun_or_ended_by_a_round_trip_of_its_own(server: Database) -> None:
    if server.kind != "postgresql" and "skip_autocommit_rollback" not in inspect.signature(DefaultDialect).parameters:
        pytest.skip("SQLAlchemy before 2.0.43 rolls back when there is nothing to")
    store = server.store(engine_options={"pool_size": 1, "max_overflow": 0})
    for version in range(8):  # PostgreSQL's driver prepares what comes often, once
        use_all(store, version=version, failures=version + 1)
    assert trips(store, server.kind, lambda: store.read(["smtp"])) == 1
    assert trips(store, server.kind, lambda: store.tally("smtp", FAILURE, WINDOW, generation=3, worker="a")) == 2
    assert trips(store, server.kind, store.now) == 1


# --- what lies where --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["garbage", "7 " + encode(Record(name="smtp"))[:20]])
@pytest.mark.parametrize("kind", ["record", "window", "lease"])
def test_a_row_that_is_not_ours_is_said_once_and_written_over(
    database: Database, caplog: pytest.LogCaptureFixture, kind: str, text: str
) -> None:
    store = database.store()
    name = "smtp:3:permit" if kind == "lease" else "smtp"
    store.now()
    database.execute(
        f"INSERT INTO {table.name} VALUES (:id, 'anybody', :kind, 'x', -1, :text, NULL)",
        id=place_of(store, kind, name),
        kind=kind,
        text=text,
    )
    version = store.read(["smtp"]).records["smtp"].version
    assert version == (7 if kind == "record" and text.startswith("7 ") else 0)
    assert store.swap(OPEN, expected=version)
    assert store.tally("smtp", FAILURE, WINDOW, generation=3, worker="a").failures == 1
    assert store.lease("smtp:3:permit", "a", limit=1, ttl=60)
    assert store.read(["smtp"]).records["smtp"] == replace(OPEN, version=version + 1)
    (line,) = lines(caplog)
    assert f"the {kind} of {name!r} is not ours to read" in line
    store.forget("smtp")
    assert store.read(["smtp"]).records == {"smtp": Record(name="smtp")}
