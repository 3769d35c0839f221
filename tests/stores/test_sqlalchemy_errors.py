"""What the SQLAlchemy store says of what cannot work, and what it never says."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from celery_breaker.errors import ConfigurationError, StoreError
from celery_breaker.stores.sqlalchemy import SQLAlchemyStore, table
from tests.stores.operations import OPEN, use_all
from tests.stores.sql import Database, closing, new_database, values_of


@pytest.fixture(params=["postgresql", "mariadb"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    with closing(new_database(request, request.param)) as database:
        yield database


def whole_text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error)


def test_passwords_are_never_shown(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    right = sa.make_url(database.url)
    store = database.store()
    use_all(store)
    texts = [store.url, repr(store), repr(vars(store)), repr(values_of(store)), repr(vars(values_of(store)))]
    wrong = [
        right.set(password="wrong-word"),
        right.set(port=1),
        right.set(database="nowhere"),
        right.set(username="nobody"),
    ]
    for url in wrong:
        with pytest.raises(StoreError) as failure:
            SQLAlchemyStore(url.render_as_string(hide_password=False), timeout=1.0).read(["smtp"])
        assert "\n" not in str(failure.value)
        texts.append(whole_text(failure.value))
    database.execute(f"DROP TABLE {table.name}")
    database.execute(f"CREATE TABLE {table.name} (id INTEGER)")
    with pytest.raises(StoreError) as failure:
        store.swap(OPEN, expected=0)
    texts += [whole_text(failure.value), caplog.text]
    for text in texts:
        for word in (str(right.password), "pass:word", "pass%3Aword", "wrong-word"):
            assert word not in text


WRONG_URLS = {
    "oracle://u:secret-word@db/x": r"cannot be used|driver|PostgreSQL, MySQL, MariaDB and SQLite alone",
    "nonsense://u:secret-word@db/x": r"nonsense://db/x cannot be used by SQLAlchemy: .*nonsense",
    "postgresql+nonsense://u:secret-word@db/x": r"cannot be used by SQLAlchemy: .*nonsense",
    "postgresql+psycopg_async://u:secret-word@db/x": "the driver is an asynchronous one; use another, such as psycopg",
    "postgresql+pg8000://u:secret-word@db/x": "needs the driver pg8000; pip install it",
    "postgresql://u:secret-word": "cannot be understood as a SQLAlchemy URL",
    "postgresql+psycopg://u@db:secret-word/x": "cannot be understood as a SQLAlchemy URL",
    "secret-word": "cannot be understood as a SQLAlchemy URL",
}


@pytest.mark.parametrize("url", WRONG_URLS)
def test_a_url_that_cannot_work_is_refused_in_one_sentence(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pg8000", None)
    with pytest.raises(ConfigurationError, match=WRONG_URLS[url]) as failure:
        SQLAlchemyStore(url)
    assert "\n" not in str(failure.value)
    assert "secret-word" not in whole_text(failure.value)


URL = "postgresql+psycopg://u:secret-word@db/x"


def no_library(*_: object) -> None:
    raise ImportError("no pq wrapper available.\nAttempts made:\n- couldn't import 'c'")


def test_a_driver_without_its_library_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

    monkeypatch.setattr(PGDialect_psycopg, "import_dbapi", no_library)
    with pytest.raises(ConfigurationError, match=r"no pq wrapper available\. Attempts made"):
        SQLAlchemyStore(URL)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pool_sise": 3}, "pool_sise"),
        ({"pool_size": "many"}, "cannot be used"),
        ({"isolation_level": "SERIALIZABLE"}, "leave out isolation_level"),
        ({"execution_options": {"isolation_level": "SERIALIZABLE"}}, "leave out isolation_level"),
        ({"connect_args": 7}, "cannot be used"),
        ({"execution_options": 7}, "cannot be used"),
    ],
)
def test_an_engine_option_that_cannot_work_is_refused_in_one_sentence(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as failure:
        SQLAlchemyStore(URL, engine_options=options)
    assert "\n" not in str(failure.value)
    assert "secret-word" not in whole_text(failure.value)
