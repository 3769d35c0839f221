"""The demo, in its short form and with its dashboard: what a newcomer sees first must work."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.waiting import eventually
from tests.support.workers import ROOT


@pytest.mark.processes("the demo starts its own")
@pytest.mark.timeout(240)
def test_every_mail_is_delivered_once_the_dashboard_is_offered_and_no_process_is_left(tmp_path: Path) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "CELERY_", "DJANGO_"))}
    said = tmp_path / "said"
    with said.open("w") as output:
        demo = subprocess.Popen(
            [sys.executable, "-m", "demo", "--quick", "--hold", "--out", str(tmp_path)],
            cwd=ROOT,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    family: list[psutil.Process] = []
    try:
        found = eventually(lambda: _offered(said, demo), "the dashboard should be offered", timeout=200)
        page = httpx.get(f"{found[1]}breaker?name=smtp", trust_env=False)
        assert "half-opened, for probes" in page.text
        family = psutil.Process(demo.pid).children(recursive=True)
        assert family
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(30)
    assert demo.returncode == 0, said.read_text()[-3000:]
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert verdict
    assert (tmp_path / "demo.png").stat().st_size > 10_000
    assert (tmp_path / "demo.svg").exists()
    assert [process for process in family if process.is_running()] == []


def _offered(said: Path, demo: subprocess.Popen[bytes]) -> re.Match[str] | None:
    assert demo.poll() is None, said.read_text()[-3000:]
    return re.search(r"Its dashboard: (http://\S+/)", said.read_text())
