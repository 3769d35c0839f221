"""What is tested is the wheel, as a user would have it installed."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import celery_breaker
from tests.support.oldest import oldest

ROOT = Path(__file__).parent.parent.parent
PACKAGE = Path(celery_breaker.__file__).parent


def test_the_package_is_the_installed_one() -> None:
    installed = {Path(sysconfig.get_path(key)).resolve() for key in ("purelib", "platlib")}
    assert PACKAGE.parent.resolve() in installed


def test_the_tree_is_not_importable() -> None:
    assert str(ROOT / "src") not in {str(Path(entry).resolve()) for entry in sys.path}


def test_the_wheel_carries_every_file_of_the_package() -> None:
    def files(root: Path) -> set[str]:
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc"}

    assert "py.typed" in files(PACKAGE)
    assert files(PACKAGE) == files(ROOT / "src" / "celery_breaker")


def test_the_oldest_versions_that_are_tested_are_those_that_the_package_allows() -> None:
    written = (ROOT / "tests" / "oldest.txt").read_text().splitlines()
    assert written[1:] == oldest(), "run: python -m tests.support.oldest > tests/oldest.txt"


ENVIRONMENT = os.environ.get("TOX_ENV_NAME", "")


def installed(name: str) -> Version:
    return Version(metadata.version(name))


@pytest.mark.skipif(ENVIRONMENT != "oldest", reason="of tox -e oldest")
@pytest.mark.parametrize("pin", oldest())
def test_what_is_tested_as_the_oldest_is_the_oldest(pin: str) -> None:
    name, _, version = pin.partition("==")
    assert installed(name) == Version(version)
    assert sys.version_info[:2] == (3, 10)


@pytest.mark.skipif("-" not in ENVIRONMENT, reason="of the environments of tox that are named for versions")
def test_what_is_tested_is_what_the_environment_is_named_for() -> None:
    python, celery, django, redis = ENVIRONMENT.split("-")
    assert python == "py{}{}".format(*sys.version_info)
    for said, name in ((celery, "celery"), (django, "django")):
        assert said == "{}{}{}".format(name, *installed(name).release)
    assert (installed("redis") == max(map(Version, _least_of_redis()))) is (redis == "redisold")


def _least_of_redis() -> Iterator[str]:
    """What kombu and this package ask for at the least."""
    for name in ("kombu", "celery-breaker"):
        for needed in map(Requirement, metadata.requires(name) or ()):
            if needed.name == "redis":
                yield from (each.version for each in needed.specifier if each.operator == ">=")


def test_one_version_is_said_everywhere() -> None:
    (cited,) = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited == celery_breaker.__version__ == metadata.version("celery-breaker")
    assert f"## [{cited}]" in (ROOT / "CHANGELOG.md").read_text()


def test_its_command_and_its_pytest_plugin_are_found() -> None:
    about = metadata.metadata("celery-breaker")
    assert about["License-Expression"] == "BSD-3-Clause"
    (command,) = [entry for entry in metadata.entry_points(group="celery.commands") if entry.name == "breaker"]
    assert command.value == "celery_breaker.plugin.cli:breaker"
    (plugin,) = [entry for entry in metadata.entry_points(group="pytest11") if entry.name == "celery_breaker"]
    assert plugin.value == "pytest_celery_breaker"
