"""Leases: never more holders than places, and a place that is lost comes back."""

from __future__ import annotations

import pytest

from celery_breaker.stores.base import Store
from celery_breaker.testing.contract.access import Opener, StoreAccess
from celery_breaker.testing.waiting import eventually

__all__ = ["LeaseContract"]


class LeaseContract(StoreAccess):
    """Places that are held for a while, and come back."""

    @pytest.mark.parametrize("limit", [1, 2, 5])
    def test_there_are_as_many_places_as_the_limit(self, store: Store, limit: int) -> None:
        held = [store.lease("key", f"h{n}", limit=limit, ttl=60).held for n in range(limit + 2)]
        assert held == [True] * limit + [False] * 2

    def test_a_holder_keeps_its_place_by_asking_again(self, store: Store) -> None:
        assert store.lease("key", "a", limit=1, ttl=60)
        assert store.lease("key", "a", limit=1, ttl=60)
        assert not store.lease("key", "b", limit=1, ttl=60)

    def test_everyone_sees_who_holds(self, connect: Opener) -> None:
        assert connect().lease("key", "a", limit=1, ttl=60)
        assert not connect().lease("key", "b", limit=1, ttl=60)

    def test_keys_are_apart(self, store: Store) -> None:
        assert store.lease("smtp:1:permit", "a", limit=1, ttl=60)
        assert store.lease("smtp:3:permit", "b", limit=1, ttl=60)

    def test_a_place_given_back_can_be_had(self, store: Store) -> None:
        store.lease("key", "a", limit=1, ttl=60)
        store.release("key", "a")
        assert store.lease("key", "b", limit=1, ttl=60)

    def test_only_the_holder_gives_back(self, store: Store) -> None:
        store.lease("key", "a", limit=1, ttl=60)
        store.release("key", "b")
        store.release("another", "a")
        assert not store.lease("key", "b", limit=1, ttl=60)

    def test_a_lost_holder_s_place_comes_back(self, store: Store) -> None:
        start = store.now()
        assert store.lease("key", "lost", limit=1, ttl=0.2)
        assert not store.lease("key", "b", limit=1, ttl=60) or store.now() >= start + 0.2
        eventually(lambda: store.lease("key", "b", limit=1, ttl=60), interval=0.02, timeout=5)
        assert not store.lease("key", "lost", limit=1, ttl=60)

    def test_a_place_is_held_for_its_time_by_the_store_s_clock(self, store: Store) -> None:
        start = store.now()
        assert store.lease("key", "lost", limit=1, ttl=0.5)
        eventually(lambda: store.lease("key", "b", limit=1, ttl=60), interval=0.01, timeout=5)
        assert store.now() >= start + 0.5

    def test_one_lost_holder_among_many_frees_one_place(self, store: Store) -> None:
        assert store.lease("key", "stays", limit=2, ttl=60)
        assert store.lease("key", "lost", limit=2, ttl=0.2)
        eventually(lambda: store.lease("key", "b", limit=2, ttl=60), interval=0.02, timeout=5)
        assert not store.lease("key", "c", limit=2, ttl=60)

    def test_asking_again_prolongs(self, store: Store) -> None:
        start = store.now()
        assert store.lease("key", "a", limit=1, ttl=0.2)
        assert store.lease("key", "a", limit=1, ttl=60)
        eventually(lambda: store.now() > start + 0.3, interval=0.05)
        assert not store.lease("key", "b", limit=1, ttl=60)

    def test_a_limit_that_was_lowered_holds_for_newcomers(self, store: Store) -> None:
        for holder in "ab":
            assert store.lease("key", holder, limit=2, ttl=60)
        assert store.lease("key", "a", limit=1, ttl=60)
        assert not store.lease("key", "c", limit=1, ttl=60)
        store.release("key", "a")
        assert not store.lease("key", "c", limit=1, ttl=60)

    def test_who_finds_all_places_taken_is_told_when_the_next_falls_free(self, store: Store) -> None:
        assert store.lease("key", "late", limit=2, ttl=60).free_in == 0.0
        store.lease("key", "early", limit=2, ttl=30)
        assert 25 < store.lease("key", "c", limit=2, ttl=60).free_in <= 30
        assert 55 < store.lease("key", "c", limit=1, ttl=60).free_in <= 60, "one more than the places has to go"

    def test_the_time_a_loser_is_told_is_enough(self, store: Store) -> None:
        start = store.now()
        store.lease("key", "a", limit=1, ttl=0.3)
        told = store.lease("key", "b", limit=1, ttl=60).free_in
        when_told = store.now()
        assert 0 < told <= 0.3 or when_told >= start + 0.3
        eventually(lambda: store.now() > when_told + told, interval=0.01)
        assert store.lease("key", "b", limit=1, ttl=60)
