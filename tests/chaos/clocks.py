"""Processes whose wall clock is wrong, by libfaketime. The monotonic clock, which nobody can set, stays as it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

from tests.support.servers import missing

__all__ = ["off_by"]

_SHOW = "import json, os; print(json.dumps({key: os.environ[key] for key in ('LD_PRELOAD', 'FAKETIME')}))"


def off_by(seconds: float) -> dict[str, str]:
    """What a process needs in its environment for its clock to be this far ahead (or behind)."""
    if shutil.which("faketime") is None:
        missing("faketime")
    shown = subprocess.run(
        ["faketime", "-f", f"{seconds:+g}s", sys.executable, "-c", _SHOW],
        env={**os.environ, "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
        capture_output=True,
        check=True,
        timeout=30,
    )
    return {**json.loads(shown.stdout), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
