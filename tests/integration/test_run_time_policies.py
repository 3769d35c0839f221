"""Options that are set from the command line, beside real workers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.commands import Commands
from tests.support.waiting import eventually
from tests.support.workers import Worker, WorkerFactory


def goes_by(worker: Worker) -> object:
    replies = worker.app.control.inspect(timeout=0.5)._request("breakers", names=["svc"]) or {}
    found: list[dict[str, Any]] = next(iter(replies.values()), {}).get("breakers", [])
    return found[0]["policy"]["max_failures"] if found else None


@pytest.mark.parametrize(
    "conf", [{"breaker_refresh_interval": 600.0}, {"breaker_bus": False}], ids=["by announcement", "by refresh"]
)
def test_what_is_set_holds_in_a_running_worker_and_in_one_that_starts_later(
    commands: Any,
    worker_factory: WorkerFactory,
    conf: dict[str, Any],
) -> None:
    breaker: Commands = commands(**conf)
    worker = worker_factory(conf=breaker.conf)
    assert eventually(lambda: goes_by(worker), "the worker should answer", timeout=30) == 5
    assert breaker("set", "svc", "max_failures=7").returncode == 0
    eventually(lambda: goes_by(worker) == 7, "the worker should go by what was set", timeout=20)
    worker.stop()
    later = worker_factory(conf=breaker.conf)
    eventually(lambda: goes_by(later) == 7, "a worker that starts later should too", timeout=30)
    assert breaker("unset", "svc").returncode == 0
    eventually(lambda: goes_by(later) == 5, "the app's own policy should hold again", timeout=20)
