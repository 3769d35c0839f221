"""What `manage.py check` says of a project, and that it keeps no table from being made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import django_stores
from tests.support.django_projects import Project
from tests.support.servers_postgres import PostgresServer

RESULTS = {"CELERY_RESULT_BACKEND": "django-db"}

ROUTER = """
class KeptOut:
    def allow_migrate(self, db, app_label, **hints):
        return False if app_label == "celery_breaker" else None
"""


def found(said: str) -> set[str]:
    """Ids of ours in what a command said."""
    ids = {"E001", "E002", "E003", "I001", "W001"}
    return {number for number in ids if f"(celery_breaker.{number})" in said}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """One on SQLite, that says nothing of Celery yet."""
    return Project(tmp_path / "project", {"default": django_stores.sqlite_entry(tmp_path / "db.sqlite3")})


def test_a_missing_table_is_a_warning_until_it_is_made(project: Project) -> None:
    project.set(**RESULTS)
    assert found(project.manage("check")) == set(), "which asks no database"
    said = project.manage("check", "--database", "default")
    assert found(said) == {"W001"}
    assert "run `manage.py migrate celery_breaker --database default`" in said
    project.manage("migrate")
    assert found(project.manage("check", "--database", "default")) == set()


def test_a_server_that_is_away_is_a_warning_without_its_password(tmp_path: Path) -> None:
    entry = {"ENGINE": "django.db.backends.postgresql", "NAME": "x", "USER": "x", "PASSWORD": "s3cret", "PORT": "1"}
    databases = {
        "default": django_stores.sqlite_entry(tmp_path / "db.sqlite3"),
        "other": {**entry, "HOST": "127.0.0.1"},
    }
    project = Project(tmp_path / "project", databases, CELERY_BREAKER_STORE="django-db://other")
    assert found(project.manage("check", "--database", "default")) == set(), "nobody asked for the other"
    code = (
        "import django; django.setup()\n"
        "from celery_breaker.django.checks import check_table\n"
        "[print(one) for one in check_table(databases=['other'])]"
    )
    said = project.python(code)
    assert found(said) == {"W001"}
    assert "s3cret" not in said


def test_a_project_that_does_not_speak_of_celery_is_left_alone(project: Project) -> None:
    assert found(project.manage("check", "--database", "default")) == set()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"CELERY_BREAKER_STORE": "redis://cache/1", **RESULTS}, "breaker_store says so"),
        ({"CELERY_BROKER_URL": "redis://cache", **RESULTS}, "the broker is Redis"),
        ({"CELERY_BROKER_URL": "amqp://"}, "workers tell each other"),
    ],
)
def test_an_app_that_is_not_used_is_mentioned_with_the_reason(
    project: Project, settings: dict[str, Any], why: str
) -> None:
    project.set(**settings)
    said = project.manage("check")
    assert found(said) == {"I001"}
    assert why in said


def test_a_store_that_cannot_be_opened_is_an_error(project: Project) -> None:
    project.set(CELERY_BREAKER_STORE="django-db://defualt")
    said = project.manage("check", well=False)
    assert found(said) == {"E001"}
    assert "did you mean 'default'?" in said


def test_a_database_in_memory_is_an_error(project: Project) -> None:
    project.set(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}, **RESULTS)
    assert found(project.manage("check", well=False)) == {"E002"}


def test_a_router_that_keeps_the_table_out_is_an_error(project: Project) -> None:
    project.write("routers_of_it.py", ROUTER)
    project.set(DATABASE_ROUTERS=["routers_of_it.KeptOut"], **RESULTS)
    assert found(project.manage("check", well=False)) == {"E003"}


def test_migrating_makes_the_table_where_the_results_are(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """The checks run before, and find that it is missing."""
    entry = postgres_server.django_for(postgres_server.add_database())
    project = Project(tmp_path / "project", {"default": entry}, apps=("django_celery_results", "celery_breaker.django"))
    project.set(**RESULTS)
    said = project.manage("migrate")
    assert "Applying celery_breaker.0001_initial... OK" in said
    assert project.manage("makemigrations", "--check", "--dry-run").strip() == "No changes detected"
    assert found(project.manage("check", "--database", "default")) == set()
    project.manage("migrate", "celery_breaker", "zero")
    assert found(project.manage("check", "--database", "default")) == {"W001"}
