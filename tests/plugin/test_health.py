"""Health checks run in threads of their own, and one that cannot be had is no reason never to try again."""

from __future__ import annotations

import threading

import pytest

from celery_breaker import Policy
from celery_breaker.plugin.agent.health import HealthChecks
from tests.engine.world import World, known
from tests.support.waiting import eventually


def test_a_check_for_which_no_thread_could_be_had_is_started_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bool] = []
    world = World()
    world.policy = Policy(health_check=lambda: checked.append(True))
    registry = world.process(tended=True)
    cell, checks = known(registry), HealthChecks(registry)

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError):
            checks.start(cell)
    checks.start(cell)
    eventually(lambda: checked == [True], "it should be checked")
