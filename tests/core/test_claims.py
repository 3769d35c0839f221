"""Claims: who holds a place once everybody has heard of everybody."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.core.claims import Claim, free_in, present, stands

holders = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([1.0, 2.0, 3.0]), min_size=1)


@given(holders, st.integers(1, 3), st.data())
def test_who_have_all_heard_the_same_agree_on_as_many_as_there_are_places(
    times: dict[str, float], limit: int, data: st.DataObject
) -> None:
    views = {
        me: {other: Claim(at, until=60.0, own=other == me) for other, at in times.items()} for me in times
    }  # each claim was made by a process of its own
    winners = [me for me, view in views.items() if stands(view, me, limit=limit)]
    assert len(winners) == min(limit, len(times))
    assert sorted((times[me], me) for me in winners) == sorted((at, me) for me, at in times.items())[: len(winners)]


def test_claims_of_one_process_do_not_dispute_each_other() -> None:
    both = {"a": Claim(1.0, 60.0, own=True), "b": Claim(2.0, 60.0, own=True)}
    assert stands(both, "b", limit=1), "the process itself gave it this place"


def test_what_has_ended_is_over() -> None:
    claims = {"a": Claim(1.0, until=10.0), "b": Claim(2.0, until=11.0)}
    assert list(present(claims, 10.0)) == ["b"]


def test_the_next_place_falls_free_with_the_first_claim_that_ends() -> None:
    claims = {"a": Claim(1.0, until=15.0), "b": Claim(2.0, until=12.0)}
    assert free_in(claims, limit=2, now=10.0).free_in == 2.0
    assert free_in(claims, limit=1, now=10.0).free_in == 5.0


def test_places_that_are_not_all_taken_are_free_at_once() -> None:
    assert free_in({"a": Claim(1.0, until=15.0)}, limit=2, now=20.0).free_in == 0.0
    assert free_in({"a": Claim(1.0, until=15.0)}, limit=1, now=10.0).held is False


def test_of_many_claims_so_many_have_to_end_that_one_place_is_free() -> None:
    claims = {name: Claim(1.0, until=until) for name, until in (("a", 11.0), ("b", 12.0), ("c", 13.0), ("d", 14.0))}
    assert [free_in(claims, limit=limit, now=10.0).free_in for limit in (4, 3, 2, 1)] == [1.0, 2.0, 3.0, 4.0]


def test_of_claims_of_one_moment_the_name_decides() -> None:
    two = {"b": Claim(1.0, 60.0, own=True), "a": Claim(1.0, 60.0)}
    assert stands(two, "a", limit=1)
    assert not stands(two, "b", limit=1)
