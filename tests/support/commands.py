"""Click's runner for tests of the command line, which has had two ways to keep stderr apart."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from click.testing import CliRunner

_APART: dict[str, Any] = {"mix_stderr": False} if version("click").startswith("8.1.") else {}


def runner(**options: Any) -> CliRunner:
    """One whose results have `stdout` and `stderr`."""
    return CliRunner(**_APART, **options)
