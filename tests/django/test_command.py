"""``manage.py breaker`` is ``celery breaker``: the same words, the same exit codes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.django_sites import Site, environment
from tests.support.servers import RedisServer, new_redis


@pytest.fixture(scope="module")
def site(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Not served; only its project is of use here."""
    store = new_redis(tmp_path_factory.mktemp("store"))
    yield Site(tmp_path_factory.mktemp("site"), broker=redis_server.url_for(5), store=store)
    store.kill()


def run(folder: Path, *args: str) -> tuple[int, str, str]:
    done = subprocess.run(
        args,
        cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def manage(site: Site, *args: str) -> tuple[int, str, str]:
    return run(site.project.folder, sys.executable, "manage.py", "breaker", *args)


def celery(site: Site, *args: str) -> tuple[int, str, str]:
    return run(site.project.folder, str(Path(sys.executable).parent / "celery"), "-A", "shop", "breaker", *args)


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("list",), 0),
        (("list", "--json"), 0),
        (("status", "smtp"), 0),
        (("open", "smtp", "--reason", "we move"), 0),
        (("status", "smpt"), 5),
        (("status", "local"), 1),
        (("open", "smtp", "--expires", "soon"), 2),
        (("explode",), 2),
        (("purge", "smtp", "--yes"), 0),
        (("--help",), 0),
        (("open", "--help"), 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_words_and_exit_codes_are_those_of_the_celery_command(site: Site, args: tuple[str, ...], code: int) -> None:
    with site.store.client() as client:
        client.flushdb()
    expected = celery(site, *args)
    if "--reason" not in args:
        assert expected[0] == code
    with site.store.client() as client:
        client.flushdb()
    assert manage(site, *args) == expected
    assert "Traceback" not in expected[2]


def test_a_breaker_that_refuses_is_told_by_the_exit_code(site: Site) -> None:
    assert manage(site, "open", "crm")[0] == 0
    assert manage(site, "status", "crm")[0] == 3
    assert celery(site, "status", "crm")[0] == 3
    assert manage(site, "auto", "crm")[0] == 0


@pytest.mark.parametrize("app", [("-A", "shop"), ("--app", "shop.celery:app"), ("--app=shop",), ("-Ashop",)], ids=str)
def test_the_app_can_be_named(site: Site, app: tuple[str, ...]) -> None:
    code, said, _ = manage(site, *app, "list")
    assert code == 0
    assert "smtp" in said


def test_an_app_that_is_not_there_is_one_sentence(site: Site) -> None:
    code, _, said = manage(site, "-A", "shoop", "list")
    assert code == 2
    assert "shoop" in said
    assert "Traceback" not in said


def test_a_dead_store_ends_it_with_the_code_for_that(site: Site) -> None:
    site.store.kill()
    try:
        code, said, complaint = manage(site, "list")
    finally:
        site.store.start()
    assert (code, said) == (4, "")
    assert complaint.startswith("Error: the store cannot be reached")


def test_call_command_reaches_it_too(site: Site) -> None:
    said = site.project.python(
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "try:\n    call_command('breaker', 'list', '--json')\nexcept SystemExit as end:\n    print('ended', end.code)"
    )
    assert '"name": "smtp"' in said
    assert "ended 0" in said
