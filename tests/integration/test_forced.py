"""Tests of users whose workers are other processes, as with pytest-celery: what is forced here, is forced there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytest_celery import CeleryTestSetup

from celery_breaker.testing import Breakers, forced
from tests.integration.guarded import once

pytestmark = pytest.mark.fleet(
    brokers=["redis"],
    workers=2,
    concurrency=1,
    conf={
        "imports": ["tests.integration.tasks", "tests.integration.guarded"],
        "breakers": {"svc": {}},
        "breaker_tend_interval": 1.0,
        "breaker_bus": False,  # so that workers hear of it when they look, and whoever does not wait is too early
    },
)


def seen_by_workers(setup: CeleryTestSetup) -> list[tuple[str, str]]:
    answers: dict[str, Any] = setup.app.control.inspect(timeout=2)._request("breakers", names=["svc"])
    return [(said["breakers"][0]["state"], said["breakers"][0]["mode"]) for said in answers.values()]


def test_every_worker_has_heard_before_the_block_begins(celery_setup: CeleryTestSetup, breakers: Breakers) -> None:
    with breakers.forced("svc", "open"):
        assert seen_by_workers(celery_setup) == [("closed", "forced_open")] * 2
        with forced("svc", "half_open", app=celery_setup.app):
            assert seen_by_workers(celery_setup) == [("half_open", "auto")] * 2
        assert seen_by_workers(celery_setup) == [("closed", "forced_open")] * 2
    assert seen_by_workers(celery_setup) == [("closed", "auto")] * 2


@pytest.mark.fleet(brokers=["redis", "rabbitmq"])
def test_a_task_is_deferred_by_the_worker_and_runs_afterwards(
    celery_setup: CeleryTestSetup, breakers: Breakers, tmp_path: Path
) -> None:
    with breakers.forced("svc", "open"):
        result = once.delay(str(tmp_path), 7)
        found = breakers.assert_deferred(once, args=(str(tmp_path), 7), timeout=30)
        assert (found.breaker, found.queue, found.kwargs) == ("svc", "celery", {})
        assert result.state == "DEFERRED"
        with pytest.raises(AssertionError, match="nothing should be deferred"):
            breakers.assert_nothing_deferred()
    assert result.get(timeout=30) == 7


def test_the_breaker_is_put_back_when_the_test_fails(celery_setup: CeleryTestSetup) -> None:
    with pytest.raises(ZeroDivisionError), forced("svc", "open", app=celery_setup.app):
        raise ZeroDivisionError
    assert seen_by_workers(celery_setup) == [("closed", "auto")] * 2
