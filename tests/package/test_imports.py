"""Every module can be imported alone, with no warning, and `import celery_breaker` brings nothing that can wait."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from collections.abc import Sequence

import pytest

import celery_breaker
from tests.support.workers import ROOT

STRICT = ("-W", "error", "-bb")
"""A warning is an error, and so is a comparison of bytes with text."""

DRIVERS = (
    *("anyio", "django", "jinja2", "opentelemetry", "prometheus_client", "pymemcache", "redis", "sqlalchemy"),
    *("starlette", "trio"),
)
LATE = (
    *("plugin.agent", "plugin.app", "plugin.cli", "plugin.gate", "plugin.publishing.publisher", "plugin.worker.side"),
    *("metrics", "simulation", "web"),
)
"""What only workers, beat, commands and pages need."""

ALONE = """
import os, sys, traceback

import celery.app.base, click, kombu, starlette.applications, django
from django.conf import settings

apps = ["contenttypes", "auth", "messages", "admin"]
settings.configure(INSTALLED_APPS=[*(f"django.contrib.{app}" for app in apps), "celery_breaker.django"])
failed = 0
for module in sys.argv[1:]:
    if (child := os.fork()) == 0:
        try:
            if module.startswith("celery_breaker.django"):
                django.setup()
            __import__(module)
        except BaseException:
            print(module, traceback.format_exc(), sep=": ", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    failed += os.waitpid(child, 0)[1] != 0
sys.exit(failed and 1)
"""


def python(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def modules() -> list[str]:
    found = pkgutil.walk_packages(celery_breaker.__path__, "celery_breaker.", onerror=lambda name: None)
    return ["celery_breaker", "pytest_celery_breaker", *(module.name for module in found)]


def test_every_module_can_be_imported_alone_without_a_warning() -> None:
    assert len(modules()) > 200
    python(*STRICT, "-c", ALONE, *modules())


def imported_with(statement: str) -> set[str]:
    return set(python(*STRICT, "-c", f"import sys; {statement}; print(*sys.modules, sep='\\n')").split())


@pytest.mark.parametrize("names", [DRIVERS, [f"celery_breaker.{name}" for name in LATE]])
def test_importing_the_package_brings_nothing_that_can_wait(names: Sequence[str]) -> None:
    of_celery = imported_with("from celery import Celery, Task; import kombu.utils.json")
    assert (imported_with("import celery_breaker") - of_celery) & set(names) == set()
