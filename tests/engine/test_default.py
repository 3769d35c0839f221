"""Which registry a breaker belongs to when it is not told."""

from __future__ import annotations

import pytest

from celery_breaker.engine.breaker import Breaker
from celery_breaker.engine.default import current_registry, registry_at
from celery_breaker.engine.registry import Registry
from celery_breaker.errors import ConfigurationError
from celery_breaker.stores.memory import MemoryStore
from tests.engine.world import provided


def test_who_provides_says() -> None:
    registry = Registry(MemoryStore())
    with provided(registry):
        assert current_registry() is registry


def test_a_url_is_one_registry() -> None:
    assert registry_at("memory://") is registry_at("memory://")


def test_a_store_is_one_registry() -> None:
    store, other = MemoryStore(), MemoryStore()
    assert registry_at(store) is registry_at(store)
    assert registry_at(store) is not registry_at(other)


def test_a_url_that_cannot_work_is_refused_at_the_first_call_and_not_before() -> None:
    breaker = Breaker("smtp", store="carrier-pigeon://roof")
    with pytest.raises(ConfigurationError, match="unknown scheme 'carrier-pigeon'"):
        breaker.call(lambda: None)


def test_breakers_that_share_a_store_share_their_state() -> None:
    store = MemoryStore()
    Breaker("smtp", store=store).open(reason="maintenance")
    assert str(Breaker("smtp", store=store).mode) == "forced_open"
    registry_at(store).close()
