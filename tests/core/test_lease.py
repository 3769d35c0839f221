"""Leases: as many places as the limit, each until its time is over, and a wait neither too long nor too short."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.core.lease import Lease, leased

holders = st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 100))


def test_a_free_place_is_taken_until_its_time_is_over() -> None:
    assert leased({}, "a", limit=1, ttl=60.0, now=10.0) == (Lease(True), {"a": 70.0})


def test_who_holds_a_place_holds_it_for_longer() -> None:
    assert leased({"a": 12.0}, "a", limit=1, ttl=60.0, now=10.0) == (Lease(True), {"a": 70.0})


def test_a_place_whose_time_is_over_is_free_from_that_moment_on() -> None:
    assert leased({"a": 10.0}, "b", limit=1, ttl=1.0, now=10.0) == (Lease(True), {"b": 11.0})
    assert not leased({"a": 10.5}, "b", limit=1, ttl=1.0, now=10.0)[0]


def test_others_keep_theirs() -> None:
    lease, after = leased({"a": 20.0}, "b", limit=2, ttl=5.0, now=10.0)
    assert lease
    assert after == {"a": 20.0, "b": 15.0}


def test_the_loser_is_told_when_so_many_have_ended_that_one_is_free() -> None:
    three = {"a": 12.0, "b": 15.0, "c": 11.0}
    assert leased(three, "d", limit=3, ttl=1.0, now=10.0) == (Lease(False, 1.0), three)
    assert leased(three, "d", limit=2, ttl=1.0, now=10.0)[0].free_in == 2.0
    assert leased(three, "d", limit=1, ttl=1.0, now=10.0)[0].free_in == 5.0


def test_what_is_held_is_true_and_what_is_not_is_false() -> None:
    assert Lease(True)
    assert not Lease(False, 3.0)
    assert Lease(True).free_in == 0.0


@given(holders, st.sampled_from("abcdef"), st.integers(1, 4), st.floats(1, 50), st.floats(0, 100))
def test_there_are_never_more_holders_than_places_unless_there_were(
    before: dict[str, float], holder: str, limit: int, ttl: float, now: float
) -> None:
    present = {other for other, until in before.items() if until > now}
    lease, after = leased(before, holder, limit=limit, ttl=ttl, now=now)
    assert len(after) <= max(limit, len(present))
    assert lease.held is (holder in after) is (holder in present or len(present) < limit)
    assert all(until > now for until in after.values())


@given(holders, st.integers(1, 4), st.floats(0, 100))
def test_who_waits_as_long_as_he_was_told_gets_a_place_and_not_a_moment_sooner(
    before: dict[str, float], limit: int, now: float
) -> None:
    lease, after = leased(before, "late", limit=limit, ttl=1.0, now=now)
    if not lease:
        ends = sorted(after.values())
        free_at = next(end for end in ends if sum(until > end for until in ends) < limit)
        assert lease.free_in == free_at - now
