"""What the main process makes of a task's end."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery.exceptions import Retry
from celery.utils.serialization import UnpickleableExceptionWrapper

from celery_breaker.core.policy import Policy
from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.view import Cell, Ticket
from celery_breaker.errors import BreakerOpen
from celery_breaker.plugin.gate.outcomes import Ended, outcome_in_main

Call = tuple[BaseException | None, object]


def ticket(policy: Policy) -> Ticket:
    return Ticket(Cell("svc", policy, at=0.0), generation=0, epoch=0)


@pytest.mark.parametrize("raised", [BreakerOpen("db", 1.0), Retry(exc=BreakerOpen("db", 1.0))])
def test_a_task_that_another_breaker_refused_says_nothing_of_its_own(raised: Exception) -> None:
    outcome = outcome_in_main(ticket(Policy(slow_call_duration=1.0)), Ended(raised, runtime=5.0))
    assert outcome is not None
    assert outcome.verdict is Verdict.NEUTRAL


def test_classify_is_asked_of_exceptions_and_not_of_results_that_only_the_pool_has_seen() -> None:
    calls: list[Call] = []

    def classify(exception: BaseException | None, result: object) -> str:
        calls.append((exception, result))
        return "failure"

    judged, raised = ticket(Policy(classify=classify)), OSError("away")
    ended = outcome_in_main(judged, Ended(None, runtime=1.0))
    failed = outcome_in_main(judged, Ended(raised, runtime=1.0))
    assert ended is not None
    assert failed is not None
    assert (ended.verdict, failed.verdict) == (Verdict.SUCCESS, Verdict.FAILURE)
    assert calls == [(raised, None)]


def test_a_slow_call_is_slow_though_its_result_is_elsewhere() -> None:
    policy = Policy(classify=lambda exception, result: "neutral", slow_call_duration=1.0)
    outcome = outcome_in_main(ticket(policy), Ended(None, runtime=2.0))
    assert outcome is not None
    assert outcome.verdict is Verdict.FAILURE
    assert outcome.slow


@pytest.mark.parametrize(
    ("policy", "verdict"),
    [(Policy(), Verdict.FAILURE), (Policy(ignore=("broken_on_import.Odd",)), Verdict.NEUTRAL)],
)
def test_an_exception_whose_module_breaks_as_it_is_imported_is_judged_by_its_name(
    policy: Policy, verdict: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_on_import.py").write_text("raise RuntimeError('needs a database')\n")
    monkeypatch.syspath_prepend(tmp_path)
    outcome = outcome_in_main(
        ticket(policy), Ended(UnpickleableExceptionWrapper("broken_on_import", "Odd", ()), runtime=0.1)
    )
    assert outcome is not None
    assert outcome.verdict is verdict
