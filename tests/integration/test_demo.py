"""The demo, in its short form: what a newcomer sees first must work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.workers import ROOT


@pytest.mark.timeout(240)
def test_every_mail_is_delivered_exactly_once_and_no_process_is_left(tmp_path: Path) -> None:
    before = {process.pid for process in psutil.process_iter()}
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "CELERY_", "DJANGO_"))}
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--quick", "--out", str(tmp_path)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert verdict
    assert (tmp_path / "demo.png").stat().st_size > 10_000
    assert (tmp_path / "demo.svg").exists()
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["pid", "cmdline"])
        if process.info["pid"] not in before and any("shop" in word for word in process.info["cmdline"] or ())
    ]
    assert left == []
