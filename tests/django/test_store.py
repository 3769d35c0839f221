"""The store beside the user's own code: connections, transactions, event loops, the test runner, the model."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from celery_breaker.core.record import Record
from celery_breaker.errors import ConfigurationError
from celery_breaker.stores.django import DjangoStore
from tests.django.conftest import KINDS, Entry, Opened, created, new_entry, values_of
from tests.stores.operations import FAILURE, OPEN, WINDOW, use_all
from tests.support import django_stores
from tests.support.django_projects import Project
from tests.support.servers_postgres import PostgresServer
from tests.support.waiting import eventually


@pytest.fixture
def alias(entry: Entry) -> str:
    return django_stores.migrate(entry)


def user(alias: str) -> Any:
    """The connection of the user's code in this thread."""
    from django.db import connections

    return connections[alias]


# --- transactions and connections -------------------------------------------------------------------------------------


def test_what_is_written_stays_when_the_users_transaction_is_rolled_back(alias: str, opened: Opened) -> None:
    from django.db import transaction

    store, other = opened(alias), opened(alias)
    with transaction.atomic(using=alias):  # as ATOMIC_REQUESTS puts around a view
        store.swap(OPEN, expected=0)
        with transaction.atomic(using=alias):
            assert other.read(["smtp"]).records["smtp"].version == 1
            store.lease("smtp:3:permit", "a", limit=1, ttl=60)
        transaction.set_rollback(True, using=alias)
    assert other.read(["smtp"]).records["smtp"].version == 1
    assert not other.lease("smtp:3:permit", "b", limit=1, ttl=60)


def test_what_others_wrote_is_seen_within_the_users_transaction(alias: str, opened: Opened) -> None:
    from django.db import transaction

    store, other = opened(alias), opened(alias)
    store.swap(OPEN, expected=0)
    with transaction.atomic(using=alias):
        assert store.read(["smtp"]).records["smtp"].version == 1
        other.swap(OPEN, expected=1)
        assert store.read(["smtp"]).records["smtp"].version == 2


def test_no_statement_goes_over_the_users_connection(alias: str, opened: Opened) -> None:
    from django.db import transaction

    said: list[str] = []

    def note(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        said.append(sql)
        return execute(sql, *rest)

    store = opened(alias)
    user(alias).close()
    use_all(store)
    assert user(alias).connection is None
    with transaction.atomic(using=alias), user(alias).execute_wrapper(note):
        use_all(store, version=1, failures=2)
    assert said == []


def test_a_server_counts_no_more_connections_than_are_kept(postgres_server: PostgresServer, opened: Opened) -> None:
    name = postgres_server.add_database()
    alias = django_stores.migrate(postgres_server.django_for(name))
    watcher = user(django_stores.database(postgres_server.django))
    store = opened(alias)
    use_all(store)
    store.read(["smtp"])

    def count() -> int:
        with watcher.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [name])
            return int(cursor.fetchone()[0])

    assert count() == 1
    store.close()
    assert eventually(lambda: count() == 0)
    assert store.names() == ["smtp"]


@pytest.mark.parametrize("age", [0, None, 60])
@pytest.mark.parametrize("kind", KINDS)
def test_one_connection_serves_whatever_conn_max_age_is(
    kind: str, age: int | None, opened: Opened, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    alias = django_stores.migrate({**new_entry(kind, request, tmp_path), "CONN_MAX_AGE": age})
    store = opened(alias)
    assert created(alias, lambda: use_all(store)) == 1
    assert created(alias, lambda: store.read(["smtp"])) == 0


def test_a_connection_that_is_of_age_is_replaced(alias: str, opened: Opened) -> None:
    store = opened(alias)
    store.now()
    values_of(store)._idle[0].wrapper.close_at = time.monotonic() - 1
    assert created(alias, store.now) == 1
    assert created(alias, store.now) == 0


def test_the_users_pool_gives_no_connection_to_the_store(postgres_server: PostgresServer, opened: Opened) -> None:
    import django

    if django.VERSION < (5, 1):
        pytest.skip("Django has pools since 5.1")
    entry = {
        **postgres_server.django_for(postgres_server.add_database()),
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 1}},
    }
    alias = django_stores.migrate(entry)
    store = opened(alias)
    with user(alias).cursor() as cursor:  # all that the pool has
        cursor.execute("SELECT 1")
        use_all(store)
    before = user(alias).pool.get_stats()["requests_num"]
    store.close()
    assert store.names() == ["smtp"]
    assert user(alias).pool.get_stats()["requests_num"] == before
    user(alias).close()
    user(alias).close_pool()


def test_it_works_in_a_thread_that_runs_an_event_loop(alias: str, opened: Opened) -> None:
    store = opened(alias)

    async def in_a_view() -> None:
        use_all(store)

    assert created(alias, lambda: asyncio.run(in_a_view())) == 1


def test_a_prefix_too_long_for_its_column_is_refused(alias: str) -> None:
    with pytest.raises(ConfigurationError, match="201 characters; use at most 200"):
        DjangoStore(alias, prefix="x" * 201)


# --- what lies in the table -------------------------------------------------------------------------------------------


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("body", ["", "garbage", "1 {}", '7 {"name": "sms"}', "📮", "x" * 70_000])
@pytest.mark.parametrize("kind", ["record", "window", "lease"])
def test_garbage_is_reported_once_and_replaced(
    tmp_path: Path, opened: Opened, caplog: pytest.LogCaptureFixture, kind: str, body: str
) -> None:
    alias = django_stores.migrate(django_stores.sqlite_entry(tmp_path / "db.sqlite3"))
    store = opened(alias)
    store.swap(OPEN, expected=0)
    store.tally("smtp", FAILURE, WINDOW, generation=3, worker="b")
    store.lease("smtp:3:permit", "a", limit=1, ttl=60)
    with user(alias).cursor() as cursor:
        cursor.execute("UPDATE celery_breaker_storedvalue SET body = %s WHERE kind = %s", [body, kind])
    for _ in range(2):
        found = store.read(["smtp"]).records["smtp"]
    if kind == "record":
        assert found == Record(name="smtp", version=found.version)
    use_all(store, version=found.version, failures=1 if kind == "window" else 2)
    name = "smtp:3:permit" if kind == "lease" else "smtp"
    assert lines(caplog) == [f"{store.url}: the {kind} of {name!r} is not ours to read; begun anew"]


def test_leases_that_have_ended_are_removed_in_time(alias: str, opened: Opened) -> None:
    store = opened(alias)
    store.swap(OPEN, expected=0)
    for number in range(5):
        store.lease(f"smtp:{number}:permit", "a", limit=1, ttl=0.01)

    def left() -> int:
        with user(alias).cursor() as cursor:
            cursor.execute("SELECT count(*) FROM celery_breaker_storedvalue WHERE kind = 'lease'")
            return int(cursor.fetchone()[0])

    values_of(store)._sweep_at = float("inf")
    store.lease("smtp:5:permit", "a", limit=1, ttl=60)

    def swept() -> bool:
        values_of(store)._sweep()
        return left() == 1

    eventually(swept)
    assert store.names() == ["smtp"]


def test_the_model_lists_what_the_store_wrote_and_is_read_only(alias: str, opened: Opened) -> None:
    from celery_breaker.django.models import StoredValue

    store = opened(alias, prefix="shop")
    store.swap(OPEN, expected=0)
    store.lease("smtp:3:permit", "a", limit=1, ttl=60)
    rows = StoredValue.objects.using(alias)
    assert sorted(str(row) for row in rows.all()) == ["lease of smtp:3:permit", "record of smtp"]
    found = rows.get(prefix="shop", kind="record")
    assert (found.name, found.expires, "5 of 5 calls failed" in found.body) == ("smtp", None, True)
    assert rows.get(kind="lease").expires == pytest.approx(store.now() + 60, abs=30)
    with pytest.raises(TypeError, match="read-only; use `celery breaker` to change"):
        found.save()
    with pytest.raises(TypeError, match="read-only; use `celery breaker reset`"):
        found.delete()
    with pytest.raises(TypeError, match="read-only"):
        rows.create(id="x", token=1)
    assert store.read(["smtp"]).records["smtp"].version == 1


# --- the test runner --------------------------------------------------------------------------------------------------

SUITE = """
import asyncio

from django.test import TestCase, TransactionTestCase

from celery_breaker.core.record import Record
from celery_breaker.stores.django import DjangoStore

store = DjangoStore("default", timeout=5.0)


class Within(TestCase):
    def test_store(self):
        assert store.swap(Record(name=f"smtp"), expected=0)
        assert store.names() == ["smtp"]
        store.forget("smtp")

    async def test_in_a_loop(self):
        assert store.now() > 0


class Without(TransactionTestCase):
    def test_store(self):
        assert store.swap(Record(name=f"sms"), expected=0)
        assert store.names() == ["sms"]
"""


@pytest.mark.parametrize("kind", KINDS)
def test_the_test_runner_can_drop_its_database_after_a_store_was_open(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    project = Project(tmp_path / "project", {"default": new_entry(kind, request, tmp_path)})
    project.write("tests_of_it.py", SUITE)
    said = project.manage("test", "--noinput", "-v", "2", "tests_of_it")
    assert "Ran 3 tests" in said
    assert "Destroying test database" in said
