"""Which of the databases the store is in: what the URL says, else the routers, else where the results are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from celery_breaker.errors import ConfigurationError, StoreError
from celery_breaker.stores.django import DjangoStore, default_alias
from celery_breaker.stores.url import open_store
from tests.django.conftest import Opened
from tests.stores.operations import use_all
from tests.support import django_stores

APPS = ["celery_breaker.django", "django_celery_results"]


class Ours:
    """Sends the app's own models to a database."""

    def __init__(self, alias: str, label: str = "celery_breaker") -> None:
        self._alias, self._label = alias, label

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return self._alias if model._meta.app_label == self._label else None


class NextTo:
    """Keeps what belongs together in one database, as Django does by itself where nobody has an opinion."""

    def __init__(self, seen: list[object]) -> None:
        self._seen = seen

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        self._seen.append(hints.get("instance"))
        return None


@pytest.fixture
def alias(tmp_path: Path) -> str:
    return django_stores.migrate(django_stores.sqlite_entry(tmp_path / "db.sqlite3"))


def under(**settings: Any) -> Any:
    """These settings of Django's, for a while."""
    from django.test import override_settings

    return override_settings(**settings)


def test_it_is_where_a_router_sends_it(alias: str, opened: Opened) -> None:
    with under(DATABASE_ROUTERS=[Ours(alias)]):
        store = opened(None)
        assert store.url == f"django-db://{alias}"
        use_all(store)


def test_it_is_where_a_router_sends_the_results(alias: str) -> None:
    with under(INSTALLED_APPS=APPS, DATABASE_ROUTERS=[Ours(alias, "django_celery_results")]):
        assert DjangoStore().url == f"django-db://{alias}"


def test_a_router_of_its_own_goes_before_that_of_the_results(alias: str, tmp_path: Path) -> None:
    other = django_stores.database(django_stores.sqlite_entry(tmp_path / "other.sqlite3"))
    routers = [Ours(other, "django_celery_results"), Ours(alias)]
    with under(INSTALLED_APPS=APPS, DATABASE_ROUTERS=routers):
        assert DjangoStore().url == f"django-db://{alias}"


@pytest.mark.parametrize("apps", [APPS, APPS[:1]], ids=["with results", "without"])
def test_where_nobody_has_an_opinion_it_is_the_default(apps: list[str]) -> None:
    seen: list[object] = []
    with under(INSTALLED_APPS=apps, DATABASE_ROUTERS=[NextTo(seen)]):
        assert default_alias() == "default"
    assert seen


def test_the_url_names_the_database_whatever_routers_say(alias: str) -> None:
    with under(DATABASE_ROUTERS=[Ours("default")]):
        for url in (f"django-db://{alias}", f"django-db://{alias}/"):
            store = open_store(url)
            assert store.url == f"django-db://{alias}"
            assert store.names() == []
            store.close()


def test_an_alias_that_is_none_is_refused_with_the_nearest(alias: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"DATABASES has no '{alias}x'; did you mean 'database\d+'\?"):
        open_store(f"django-db://{alias}x")
    with pytest.raises(ConfigurationError, match="DATABASES has no 'elsewhere'; known are "):
        open_store("django-db://elsewhere")


def test_a_router_that_names_no_database_is_refused() -> None:
    with (
        under(DATABASE_ROUTERS=[Ours("gone away")]),
        pytest.raises(ConfigurationError, match="DATABASES has no 'gone away'"),
    ):
        DjangoStore()


def test_a_project_without_the_app_is_told_the_cure(alias: str) -> None:
    with (
        under(INSTALLED_APPS=[]),
        pytest.raises(ConfigurationError, match=r"add 'celery_breaker\.django' to INSTALLED_APPS and run `manage\.py"),
    ):
        DjangoStore(alias)


def test_a_database_in_memory_is_refused_in_words(opened: Opened) -> None:
    alias = django_stores.database({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"})
    with pytest.raises(StoreError, match="a database in memory is another one for each connection; name a file"):
        opened(alias).now()


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("django.db.backends.dummy", "is unknown; known are postgresql, mysql, sqlite"),
        ("no.such.backend", "cannot be used: 'no.such.backend' isn't an available database backend"),
    ],
)
def test_a_backend_that_is_not_known_is_refused(engine: str, said: str) -> None:
    alias = django_stores.database({"ENGINE": engine, "NAME": "x"})
    with pytest.raises(ConfigurationError) as caught:
        open_store(f"django-db://{alias}")
    assert said in str(caught.value)


def test_without_settings_one_sentence_says_so(tmp_path: Path) -> None:
    code = "from celery_breaker.stores.url import open_store; open_store('django-db://')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={}, capture_output=True, text=True, timeout=60, check=False
    )
    assert "ConfigurationError: breaker_store is in Django's database, but Django is not set up: " in done.stderr
    assert "DJANGO_SETTINGS_MODULE" in done.stderr
