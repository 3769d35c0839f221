"""The contract in the hands of somebody else: a file with a subclass of `StoreContract`, run by a pytest of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

GOOD = """
import pytest
from celery_breaker.stores.memory import MemoryStore
from celery_breaker.testing.contract import Opener, StoreContract


class TestMyStore(StoreContract):
    across_processes = False
    examples = 5
    breakers = 100

    @pytest.fixture
    def opener(self) -> Opener:
        store = MemoryStore()
        return lambda: store
"""

BROKEN = """
import copy
import time

import pytest
from celery_breaker.core.counts import Counts
from celery_breaker.stores.memory import MemoryStore
from celery_breaker.testing.contract import Opener, StoreContract


class WritesOver(MemoryStore):
    def swap(self, record, *, expected):
        return super().swap(record, expected=self.read([record.name]).records[record.name].version)


class LosesCounts(MemoryStore):
    def tally(self, name, delta, window, **who):
        counts = copy.deepcopy(self._counts.get(name) or Counts())
        time.sleep(0.001)  # another's count of just now is then written over
        totals = counts.tally(delta, window, now=self.now(), **who)
        self._counts[name] = counts
        return totals


class Small(StoreContract):
    across_processes = False
    examples = 5
    breakers = 100


class TestWritesOver(Small):
    @pytest.fixture
    def opener(self) -> Opener:
        store = WritesOver()
        return lambda: store


class TestLosesCounts(Small):
    @pytest.fixture
    def opener(self) -> Opener:
        store = LosesCounts()
        return lambda: store
"""


def run(folder: Path, text: str, *args: str) -> tuple[int, str]:
    """The exit code and what is printed of a pytest that has no other plugin, as theirs may not."""
    file = folder / "test_my_store.py"
    file.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-ra", "--tb=short", "-p", "no:cacheprovider", str(file), *args],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_store_that_keeps_the_contract_passes(tmp_path: Path) -> None:
    code, said = run(tmp_path, GOOD)
    assert code == 0, said
    assert re.search(r"^\d{2,} passed, \d+ skipped in", said, re.MULTILINE), said
    assert "TestMyStore does not override `plant`" in said, "what was not tested is named"
    assert "its data are not shared between processes" in said


def test_a_store_that_loses_updates_fails_and_is_shown_what_it_lost(tmp_path: Path) -> None:
    code, said = run(tmp_path, BROKEN, "-k", "swap or lost")
    failed = set(re.findall(r"^FAILED test_my_store\.py::(\w+)::(\w+)", said, re.MULTILINE))
    assert code == 1, said
    assert failed >= {
        ("TestWritesOver", "test_a_swap_of_another_version_changes_nothing"),
        ("TestWritesOver", "test_one_wins_each_swap"),
        ("TestLosesCounts", "test_no_count_is_lost"),
    }, said
    assert {name for kind, name in failed if kind == "TestLosesCounts"} == {"test_no_count_is_lost"}
    assert "== (800, 400, 400, 400)" in said, "with what was compared"
