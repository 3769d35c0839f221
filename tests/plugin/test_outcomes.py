"""How a task's end counts, as the worker's main process sees it."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery.utils.serialization import UnpickleableExceptionWrapper

from celery_breaker import Policy
from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.view import Cell, Ticket
from celery_breaker.plugin.gate.outcomes import Ended, outcome_in_main


@pytest.mark.parametrize(
    ("policy", "verdict"),
    [(Policy(), Verdict.FAILURE), (Policy(ignore=("broken_on_import.Odd",)), Verdict.NEUTRAL)],
)
def test_an_exception_whose_module_breaks_as_it_is_imported_is_judged_by_its_name(
    policy: Policy, verdict: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_on_import.py").write_text("raise RuntimeError('needs a database')\n")
    monkeypatch.syspath_prepend(tmp_path)
    ticket = Ticket(Cell("svc", policy, at=0.0), generation=0, epoch=0)
    outcome = outcome_in_main(ticket, Ended(UnpickleableExceptionWrapper("broken_on_import", "Odd", ()), runtime=0.1))
    assert outcome is not None
    assert outcome.verdict is verdict
