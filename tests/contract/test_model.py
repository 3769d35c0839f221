"""Redis held against memory: whatever is asked in whatever order, both give the same answers.

Redis has its own clock, so everything here happens within windows and leases of a day, or is over at once.
"""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from celery_breaker.core.record import Record
from celery_breaker.core.windows import Delta, Window
from celery_breaker.stores.memory import MemoryStore
from celery_breaker.stores.redis import RedisStore
from tests.contract.conftest import fresh_prefix
from tests.core.strategies import records
from tests.support.servers import RedisServer

NAMES = ["smtp", "日本 {x}", "a:b"]
names = st.sampled_from(NAMES)
holders = st.sampled_from("abcd")
windows = st.sampled_from(
    [
        Window(span=10_000_000.0),
        Window(span=20_000_000.0),
        *(Window(span=float(span), by_calls=True) for span in (1, 3, 7, 10, 13, 25, 100)),
    ]
)


@st.composite
def deltas(draw: st.DrawFn) -> Delta:
    calls = draw(st.integers(0, 12))
    failures = draw(st.integers(0, calls))
    unbroken = failures == calls
    streak = failures if unbroken else draw(st.integers(0, failures))
    return Delta(calls=calls, failures=failures, slow=draw(st.integers(0, calls)), streak=streak, unbroken=unbroken)


class TwoStores(RuleBasedStateMachine):
    server: ClassVar[RedisServer]

    def __init__(self) -> None:
        super().__init__()
        self.redis = RedisStore(self.server.url, prefix=fresh_prefix(), timeout=10.0)
        self.memory = MemoryStore()
        self.window = Window(span=10_000_000.0)

    def teardown(self) -> None:
        self.redis.close()

    @initialize(window=windows)
    def take_window(self, window: Window) -> None:
        self.window = window

    @rule(name=names, record=records, off=st.sampled_from([0, 0, 0, 1, -1]))
    def swap(self, name: str, record: Record, off: int) -> None:
        record = Record(**{field: getattr(record, field) for field in Record.__slots__} | {"name": name})
        expected = self.memory.read([name]).records[name].version + off
        assert self.redis.swap(record, expected=expected) is self.memory.swap(record, expected=expected)

    @rule(asked=st.lists(names | st.text("xyz", min_size=1, max_size=2), max_size=5))
    def read(self, asked: list[str]) -> None:
        assert dict(self.redis.read(asked).records) == dict(self.memory.read(asked).records)

    @rule(name=names, delta=deltas(), generation=st.integers(0, 3), worker=holders)
    def tally(self, name: str, delta: Delta, generation: int, worker: str) -> None:
        theirs = self.redis.tally(name, delta, self.window, generation=generation, worker=worker)
        ours = self.memory.tally(name, delta, self.window, generation=generation, worker=worker)
        assert (theirs.calls, theirs.failures, theirs.slow, theirs.streak, theirs.workers) == (
            ours.calls,
            ours.failures,
            ours.slow,
            ours.streak,
            ours.workers,
        )
        assert abs(theirs.now - ours.now) < 60

    @rule(window=windows)
    def deploy_with_another_window(self, window: Window) -> None:
        self.window = window

    @rule(key=names, holder=holders, limit=st.integers(1, 3))
    def lease(self, key: str, holder: str, limit: int) -> None:
        theirs = self.redis.lease(key, holder, limit=limit, ttl=86_400)
        ours = self.memory.lease(key, holder, limit=limit, ttl=86_400)
        assert theirs.held is ours.held
        assert abs(theirs.free_in - ours.free_in) < 60

    @rule(key=names, holder=holders)
    def release(self, key: str, holder: str) -> None:
        self.redis.release(key, holder)
        self.memory.release(key, holder)

    @rule(name=names)
    def forget(self, name: str) -> None:
        self.redis.forget(name)
        self.memory.forget(name)

    @invariant()
    def the_same_breakers_are_listed(self) -> None:
        assert sorted(self.redis.names()) == sorted(self.memory.names())


@pytest.mark.timeout(600)
def test_redis_answers_as_memory_does(redis_server: RedisServer) -> None:
    TwoStores.server = redis_server
    run_state_machine_as_test(TwoStores, settings=settings(suppress_health_check=list(HealthCheck)))
