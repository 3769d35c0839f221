"""docs/examples/defer_failures.py does what the page says; tests/integration has the workers."""

from __future__ import annotations

import pytest

from celery_breaker.core.classify import judge
from celery_breaker.core.verdict import Verdict
from celery_breaker.plugin.app import breakers_of
from tests.examples import load


def test_only_the_server_s_own_failures_set_a_mail_aside() -> None:
    example = load("defer_failures")
    policy = breakers_of(example.app).policies.of("smtp")
    assert policy.defer_failures
    assert example.send.acks_late
    verdicts = {}
    for to in ("nobody", "you@down.example"):
        with pytest.raises(Exception, match=r"is no address|is away") as failure:
            example.send(to)
        verdicts[to] = judge(failure.value, policy)
    assert verdicts == {"nobody": Verdict.SUCCESS, "you@down.example": Verdict.FAILURE}
    assert example.send("you@example.org") == "sent to you@example.org"
