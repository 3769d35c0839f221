"""Defects that other circuit breakers had or have, each as a test that this one would fail if it had it too.

Each runs on every store on which it could differ; on Redis the time is the server's and nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Record, State
from celery_breaker.engine.registry import Registry
from celery_breaker.stores.base import Store
from tests.contract.conftest import connect, store
from tests.engine.world import POLICY, SilentReporter
from tests.support import properties

__all__ = ["connect", "properties", "store"]

NewProcess = Callable[..., Registry]


@pytest.fixture
def process(connect: Callable[[], Store]) -> NewProcess:
    """`process("w2", policy=…)` → one more process on the same store, whose reporter works when it is told to."""

    def process(worker: str = "w1", *, policy: Policy = POLICY, **options: Any) -> Registry:
        registry = Registry(
            connect(), policy_of=lambda name: policy, worker=worker, **{"random": lambda: 0.5, **options}
        )
        registry.reporter = SilentReporter()  # type: ignore[assignment]
        registry.work()
        return registry

    return process


def put(store: Store, state: State, *, generation: int, due_in: float = 0.0, **more: Any) -> Record:
    """Write a record of "smtp" over whatever there is, and return it as the store has it."""
    before = store.read(["smtp"]).records["smtp"]
    now = store.now()
    record = Record(
        name="smtp", state=state, generation=generation, since=now, until=now + due_in, **{"trips": 1, **more}
    )
    assert store.swap(record, expected=before.version)
    return store.read(["smtp"]).records["smtp"]
