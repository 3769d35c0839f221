"""The memory store, beyond what every store must do."""

from __future__ import annotations

from celery_breaker.clock import ManualClock
from celery_breaker.stores.memory import MemoryStore


def test_leases_that_nobody_gave_back_are_not_kept_for_ever() -> None:
    """Each half-open generation, and each breaker with a retry budget, has a key of its own."""
    clock = ManualClock(100.0)
    store = MemoryStore(clock)
    for number in range(1000):
        store.lease(f"webhook:{number}:retries", "a", limit=3, ttl=30)
    store.lease("lasts", "a", limit=1, ttl=3600)
    clock.advance(120)
    store.lease("new", "a", limit=1, ttl=60)
    assert sorted(store._leases) == ["lasts", "new"]


def test_giving_back_what_nobody_holds_leaves_nothing_behind() -> None:
    store = MemoryStore()
    store.release("key", "a")
    assert store._leases == {}
