"""The table: made, taken away and made again, on each database, and shared with a later release."""

from __future__ import annotations

from dataclasses import replace

import pytest

from celery_breaker.errors import StoreError
from tests.django.conftest import Entry, Opened
from tests.stores.operations import OPEN, OPERATIONS, use_all
from tests.support import django_stores
from tests.support.servers_mariadb import MariaDBServer


def alter(alias: str, statement: str) -> None:
    from django.db import connections

    with connections[alias].cursor() as cursor:
        cursor.execute(statement)


def test_it_goes_forward_back_and_forward_again(entry: Entry, opened: Opened) -> None:
    alias = django_stores.migrate(entry)
    store = opened(alias)
    use_all(store)
    django_stores.migrate(entry, "zero")
    with pytest.raises(StoreError, match="there is no table"):
        store.names()
    django_stores.migrate(entry)
    use_all(store)


def test_each_operation_without_the_table_names_the_command_that_makes_it(entry: Entry, opened: Opened) -> None:
    alias = django_stores.database(entry)
    store = opened(alias)
    for name, operation in OPERATIONS.items():
        if name == "now":
            continue  # which needs none
        with pytest.raises(StoreError, match=rf"manage\.py migrate celery_breaker --database {alias}`"):
            operation(store)


def test_the_model_and_its_migrations_agree() -> None:
    from django.core.management import call_command

    call_command("makemigrations", "celery_breaker", check=True, dry_run=True)


def test_a_column_that_a_later_release_adds_is_in_nobodys_way(entry: Entry, opened: Opened) -> None:
    alias = django_stores.migrate(entry)
    store = opened(alias)
    store.swap(OPEN, expected=0)
    alter(alias, "ALTER TABLE celery_breaker_storedvalue ADD COLUMN later INTEGER DEFAULT 7 NOT NULL")
    use_all(store, version=1)
    store.forget("smtp")
    assert store.names() == []


def test_any_name_is_kept_in_a_database_set_up_for_latin1(mariadb_server: MariaDBServer, opened: Opened) -> None:
    name = mariadb_server.add_database()
    mariadb_server.execute(f"ALTER DATABASE {name} CHARACTER SET latin1 COLLATE latin1_swedish_ci")
    alias = django_stores.migrate(mariadb_server.django_for(name))
    store = opened(alias, prefix="Läden 🛒")
    names = [
        "smtp",
        "SMTP",
        "Smtp ",
        "smtp ",
        "straße",
        "strasse",
        "café",
        "cafe",
        "Ü",
        "u",
        "📮",
        "📬",
        "İ",
        "ß" * 200,
    ]
    for number, breaker in enumerate(names):
        assert store.swap(replace(OPEN, name=breaker, generation=number, reason=f"{breaker} ist weg"), expected=0)
    found = store.read(names).records
    assert [found[breaker].generation for breaker in names] == list(range(len(names)))
    assert [found[breaker].reason for breaker in names] == [f"{breaker} ist weg" for breaker in names]
    assert sorted(store.names()) == sorted(names)


def test_prefixes_that_differ_in_case_alone_are_apart(entry: Entry, opened: Opened) -> None:
    alias = django_stores.migrate(entry)
    use_all(opened(alias, prefix="shop"))
    other = opened(alias, prefix="Shop")
    assert other.names() == []
    use_all(other)
