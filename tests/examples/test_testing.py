"""docs/examples/testing_*.py, run the way their readers would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples import FOLDER


@pytest.mark.parametrize("command", [
    ("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:celery", "-p", "no:docker_tools", "testing_with_pytest.py"),
    ("unittest", "testing_with_unittest"),
])  # fmt: skip
def test_the_examples_pass(command: tuple[str, ...], tmp_path: Path) -> None:
    for file in FOLDER.glob("testing_*.py"):
        (tmp_path / file.name).write_text(file.read_text())
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
