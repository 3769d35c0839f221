"""The wheel and the source distribution: the same package from either, and a suite that runs from the latter."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.support.workers import ROOT


def build(tree: Path, out: Path, *targets: str) -> list[Path]:
    """What Hatchling makes of this tree, in the order of the targets."""
    chosen = [word for target in targets for word in ("--target", target)]
    run(tree, "-m", "hatchling", "build", "--directory", str(out), *chosen)
    return [next(out.glob({"wheel": "*.whl", "sdist": "*.tar.gz"}[target])) for target in targets]


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="builds need Hatchling")
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")[0]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    pytest.importorskip("hatchling", reason="builds need Hatchling")
    folder = tmp_path_factory.mktemp("sdist")
    (sdist,) = build(ROOT, folder, "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return folder / sdist.name.removesuffix(".tar.gz")


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = {name for name in contents(wheel) if ".dist-info/" not in name}
    source = ROOT / "src"
    files = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert names == {name for name in files if not name.endswith((".pyc", ".pyo"))}
    assert "celery_breaker/py.typed" in names


def test_the_source_distribution_builds_the_same_wheel(wheel: Path, unpacked: Path, tmp_path: Path) -> None:
    (again,) = build(unpacked, tmp_path, "wheel")
    assert again.name == wheel.name
    assert contents(again) == contents(wheel)


def test_the_source_distribution_holds_what_the_tests_need(unpacked: Path) -> None:
    run(unpacked, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests")
    some = ["tests/core/test_policy.py", "tests/package/test_installed.py", "tests/typing", "tests/examples"]
    run(unpacked, "-m", "pytest", "-q", "-p", "no:cacheprovider", *some)


def test_nothing_on_the_page_of_the_index_leads_to_a_file(wheel: Path) -> None:
    (name,) = (name for name in contents(wheel) if name.endswith(".dist-info/METADATA"))
    about = Parser().parsestr(contents(wheel)[name].decode())
    page = str(about.get_payload())
    assert re.findall(r"\]\((?!https?://)[^)]*\)", page) == []
    assert "![" not in page
    assert "## Options of a breaker" in page
    assert about["Description-Content-Type"] == "text/markdown"
