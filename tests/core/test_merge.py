"""Putting together what several know of one breaker: the same end by every way, and what wins."""

from __future__ import annotations

import functools
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.core import machine
from celery_breaker.core.merge import Mark, Said, merge, news, written
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Override, Record, State, Tuning
from celery_breaker.core.windows import Totals
from tests.core import strategies

NOW = 1_000_000.0
POLICY = Policy(max_failures=1, failure_rate=0, jitter=0)
FAULTY = Totals(now=NOW, calls=1, failures=1, workers={"w": 1})

# Few values, so that ties are the rule and not the exception.
overrides = st.none() | st.builds(
    Override, mode=st.sampled_from([Mode.FORCED_OPEN, Mode.DISABLED]), since=st.sampled_from([1.0, 2.0])
)
near = st.builds(
    Said.of,
    st.builds(
        Record,
        name=st.just("smtp"),
        state=st.sampled_from(State),
        generation=st.integers(0, 2),
        until=st.sampled_from([0.0, 5.0]),
        override=overrides,
        draining=st.booleans(),
        tuning=st.sampled_from([(), (("max_failures", 1),), (("max_failures", 2),)]),
    ),
    writes=st.integers(0, 2),
    word=st.integers(0, 2),
)
any_said = near | st.builds(
    Said.of,
    strategies.records.map(lambda record: replace(record, name="smtp")),
    writes=st.integers(0, 100),
    word=st.integers(0, 100),
)


@given(any_said, any_said, any_said)
def test_the_order_does_not_matter(one: Said, two: Said, three: Said) -> None:
    assert merge(one, two) == merge(two, one)
    assert merge(merge(one, two), three) == merge(one, merge(two, three))
    assert merge(one, one) == one


@given(st.lists(near, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_any_number_in_any_order_and_repeated_come_to_one_end(saids: list[Said], chance: random.Random) -> None:
    shuffled = [*saids, *chance.choices(saids, k=3)]
    chance.shuffle(shuffled)
    assert functools.reduce(merge, shuffled) == functools.reduce(merge, saids)


@given(any_said, any_said)
def test_the_higher_generation_wins(one: Said, two: Said) -> None:
    merged = merge(one, two)
    assert merged.record.generation == max(one.record.generation, two.record.generation)


@given(any_said, any_said)
def test_marks_tell_who_may_know_more(one: Said, two: Said) -> None:
    if merge(one, two) != two:
        assert news(one.mark, two.mark)
    if one == two:
        assert not news(one.mark, two.mark)


@given(near, near)
def test_once_both_have_heard_neither_has_news(one: Said, two: Said) -> None:
    merged = merge(one, two)
    assert not news(merge(two, one).mark, merged.mark)


def test_to_know_something_is_news_to_who_knows_nothing() -> None:
    mark = written(None, Record(name="smtp"), now=NOW).mark
    assert news(mark, None)
    assert not news(None, mark)
    assert not news(None, None)


@given(any_said)
def test_what_is_sent_is_what_arrives(said: Said) -> None:
    assert Said.decode(said.encode()) == said


@pytest.mark.parametrize(
    "raw",
    [
        None, {}, [], ["{}", 1], ["{}", 1, 1], ["[]", 1, 1], [{}, 1, 1], ['{"name":"smtp"}', -1, 0],
        ['{"name":"smtp"}', 1.5, 0], ['{"name":"smtp"}', True, 0], ['{"name":"smtp"}', 2**60, 0],
        ['{"name":"smtp","generation":1e999}', 0, 0], [f'{{"name":"smtp","generation":{2**60}}}', 0, 0],
    ],
)  # fmt: skip
def test_what_is_foreign_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="record"):
        Said.decode(raw)


@pytest.mark.parametrize("raw", [None, 7, [], [1, 2, 3, 4], [1, 2, 3, 4, "5"], [1, 2, 3, 4, -2], [1, 2, 3, 4, 2**60]])
def test_a_foreign_mark_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="mark"):
        Mark.of(raw)


FORCED = Override(mode=Mode.FORCED_OPEN, since=1.0)
LATER = replace(FORCED, since=2.0)
DISABLED = replace(FORCED, mode=Mode.DISABLED)
TUNED = (("max_failures", 1),)


def spoken(override: Override | None = None, tuning: Tuning = ()) -> Said:
    """All of these were said in the same millisecond."""
    return Said.of(Record(name="smtp", override=override, tuning=tuning), writes=1, word=5)


@pytest.mark.parametrize(
    ("lost", "won"),
    [
        (spoken(), spoken(FORCED)),
        (spoken(), spoken(tuning=TUNED)),
        (spoken(tuning=TUNED), spoken(FORCED)),
        (spoken(FORCED), spoken(LATER)),
        (spoken(FORCED, TUNED), spoken(LATER)),
    ],
)
def test_of_words_of_the_same_millisecond_something_beats_nothing_and_the_later_the_earlier(
    lost: Said, won: Said
) -> None:
    assert merge(lost, won) == merge(won, lost) == won


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (spoken(FORCED), spoken(DISABLED)),
        (spoken(FORCED), spoken(FORCED, TUNED)),
        (spoken(tuning=TUNED), spoken(tuning=(("max_failures", 2),))),
    ],
)
def test_words_that_differ_in_nothing_but_what_they_say_are_settled_by_all_alike(one: Said, other: Said) -> None:
    assert merge(one, other) == merge(other, one)


def test_a_mark_tells_the_state_and_the_operator_s_word_apart() -> None:
    marks = [said.mark for said in (spoken(), spoken(FORCED), spoken(tuning=TUNED))]
    assert len({mark.state for mark in marks}) == 1
    assert len({mark.override for mark in marks}) == 3


def test_an_operator_s_word_outlives_the_transitions_of_others() -> None:
    start = written(None, Record(name="smtp"), now=NOW)
    forced = written(start, machine.override(start.record, Mode.DISABLED, now=NOW), now=NOW)
    other = start
    for step in range(5):
        opened = machine.tripped(other.record, FAULTY, POLICY, now=NOW + step, u=0.5)
        other = written(other, opened, now=NOW)
        other = written(other, machine.close(other.record, now=NOW + step), now=NOW)
    merged = merge(forced, other)
    assert merged.record.generation == other.record.generation == 10
    assert merged.record.mode is Mode.DISABLED


def test_the_later_word_of_two_operators_wins_whatever_their_clocks_say() -> None:
    start = written(None, Record(name="smtp"), now=NOW)
    fast = written(start, machine.override(start.record, Mode.DISABLED, now=NOW + 3600), now=NOW + 3600)
    lifted = written(fast, machine.override(fast.record, Mode.AUTO, now=NOW), now=NOW)
    assert merge(fast, lifted).record.mode is Mode.AUTO


def test_a_word_of_who_knows_nothing_is_later_than_all_that_was_said_before() -> None:
    long_ago = written(None, machine.override(Record(name="smtp"), Mode.DISABLED, now=NOW), now=NOW)
    for step in range(9):
        wanted = machine.override(long_ago.record, Mode.DISABLED, now=NOW + step, reason=str(step))
        long_ago = written(long_ago, wanted, now=NOW + step)
    ignorant = written(None, machine.override(Record(name="smtp"), Mode.FORCED_OPEN, now=NOW + 60), now=NOW + 60)
    assert merge(long_ago, ignorant).record.mode is Mode.FORCED_OPEN


def test_of_two_ends_of_one_probe_the_failure_wins() -> None:
    half_open = Said.of(Record(name="smtp", state=State.HALF_OPEN, generation=2), writes=4, word=0)
    failed = machine.probe_failed(half_open.record, POLICY, generation=2, now=NOW, u=0.5, reason="")
    passed = machine.probe_succeeded(half_open.record, POLICY, generation=2, now=NOW)
    both = [written(half_open, record, now=NOW) for record in (failed, passed)]
    assert merge(*both).record.state is State.OPEN


def test_what_is_known_after_a_write_says_how_many_writes_led_there_and_when_an_operator_spoke() -> None:
    first = written(None, Record(name="smtp", version=41), now=NOW)
    assert (first.writes, first.word, first.record.version) == (1, 0, 0)
    spoken = written(first, machine.override(first.record, Mode.DISABLED, now=NOW), now=NOW)
    assert (spoken.writes, spoken.word) == (2, int(NOW * 1000))
    same = written(spoken, replace(spoken.record, ramp=7.0), now=NOW + 9)
    assert (same.writes, same.word) == (3, int(NOW * 1000)), "nobody spoke"
    at_once = written(same, machine.override(same.record, Mode.AUTO, now=NOW), now=NOW)
    assert at_once.word == int(NOW * 1000) + 1, "later than all that was known"


def test_a_mark_tells_states_apart_and_words_apart() -> None:
    base = Said.of(Record(name="smtp"), writes=3, word=9)
    ramped = Said.of(Record(name="smtp", ramp=5.0), writes=3, word=9)
    forced = Said.of(Record(name="smtp", override=Override(mode=Mode.DISABLED, since=1.0)), writes=3, word=9)
    assert (base.mark.generation, base.mark.writes, base.mark.word) == (0, 3, 9)
    assert base.mark.state != ramped.mark.state
    assert base.mark.override == ramped.mark.override
    assert base.mark.state == forced.mark.state, "an operator's word is no part of the state"
    assert base.mark.override != forced.mark.override


def test_marks_of_different_breakers_differ_though_they_know_nothing() -> None:
    one, other = (Said.of(Record(name=name), writes=0, word=0).mark for name in ("smtp", "crm"))
    assert one != other


def test_versions_do_not_travel() -> None:
    said = Said.of(Record(name="smtp", version=41), writes=1, word=0)
    assert said.record.version == 0
    assert Said.decode(said.encode()).record.version == 0
    assert said.mark == Said.of(Record(name="smtp", version=7), writes=1, word=0).mark


def test_what_a_newer_release_adds_to_a_message_is_ignored() -> None:
    said = Said.of(Record(name="smtp"), writes=1, word=2)
    assert Said.decode([*said.encode(), "more"]) == said


@pytest.mark.parametrize("number", [0, 2**53 - 1])
def test_the_largest_numbers_that_are_exact_everywhere_are_read(number: int) -> None:
    said = Said.decode([f'{{"name":"smtp","generation":{number}}}', number, number])
    assert (said.record.generation, said.writes, said.word) == (number, number, number)
    assert Mark.of([number] * 5) == Mark(*[number] * 5)


@pytest.mark.parametrize("place", range(1, 3))
def test_numbers_that_are_not_exact_everywhere_are_refused(place: int) -> None:
    raw: list[object] = ['{"name":"smtp"}', 0, 0]
    raw[place] = 2**53
    with pytest.raises(ValueError, match=r"^no record of a breaker: a number is none$"):
        Said.decode(raw)
    with pytest.raises(ValueError, match=r"^no record of a breaker: a generation is none$"):
        Said.decode([f'{{"name":"smtp","generation":{2**53}}}', 0, 0])
    with pytest.raises(ValueError, match=r"^no record of a breaker$"):
        Said.decode(raw[:2])


@pytest.mark.parametrize("number", [-1, 0])
def test_a_mark_s_numbers_begin_at_minus_one(number: int) -> None:
    assert Mark.of((number,) * 5).word == number


@pytest.mark.parametrize("raw", [None, [0] * 4, [0] * 6, "00000"])
def test_a_mark_has_five_numbers(raw: object) -> None:
    with pytest.raises(ValueError, match=r"^no mark of a breaker$"):
        Mark.of(raw)


@pytest.mark.parametrize("number", [-2, 2**53, 1.0, True, None])
def test_a_mark_of_what_is_no_number_is_none(number: object) -> None:
    with pytest.raises(ValueError, match=r"^no mark of a breaker: a number is none$"):
        Mark.of([0, 0, 0, 0, number])


@pytest.mark.parametrize(
    ("mine", "theirs", "may_know_more"),
    [
        ((1, 0, 0, 0, 0), (0, 9, 9, 0, 0), True),
        ((0, 9, 9, 0, 0), (1, 0, 0, 0, 0), False),
        ((1, 2, 5, 0, 0), (1, 1, 5, 0, 0), True),
        ((1, 1, 5, 0, 0), (1, 2, 5, 0, 0), False),
        ((1, 1, 5, 0, 0), (1, 1, 6, 0, 0), True),
        ((1, 1, 6, 0, 0), (1, 1, 5, 0, 0), True),
        ((1, 1, 5, 2, 0), (1, 1, 5, 1, 9), True),
        ((1, 1, 5, 1, 9), (1, 1, 5, 2, 0), False),
        ((1, 1, 5, 1, 9), (1, 1, 5, 1, 8), True),
        ((0, 0, 0, 2, 0), (9, 9, 9, 1, 0), True),
        ((1, 1, 5, 1, 9), (1, 1, 5, 1, 9), False),
    ],
)
def test_what_counts_as_news(mine: tuple[int, ...], theirs: tuple[int, ...], may_know_more: bool) -> None:
    assert news(Mark(*mine), Mark(*theirs)) is may_know_more


def test_ties_go_to_the_careful_state_then_to_the_longer_interval() -> None:
    def said(state: State, until: float = 0.0) -> Said:
        return Said.of(Record(name="smtp", state=state, until=until, generation=1), writes=1, word=0)

    assert merge(said(State.HALF_OPEN), said(State.CLOSED)).record.state is State.CLOSED
    assert merge(said(State.CLOSED), said(State.OPEN)).record.state is State.OPEN
    assert merge(said(State.OPEN, 5.0), said(State.OPEN, 7.0)).record.until == 7.0
    assert merge(said(State.OPEN, 7.0), said(State.OPEN, 5.0)).record.until == 7.0


def test_of_words_of_the_same_moment_one_that_forces_wins_then_the_later() -> None:
    def said(since: float | None) -> Said:
        override = None if since is None else Override(mode=Mode.DISABLED, since=since)
        return Said.of(Record(name="smtp", override=override), writes=1, word=5)

    assert merge(said(None), said(1.0)).record.override is not None
    merged = merge(said(2.0), said(1.0)).record.override
    assert merged is not None
    assert merged.since == 2.0


def test_what_is_merged_keeps_the_writes_of_the_state_and_the_moment_of_the_word() -> None:
    spoken = Said.of(Record(name="smtp", override=Override(mode=Mode.DISABLED, since=1.0)), writes=9, word=7)
    moved = Said.of(Record(name="smtp", generation=4, state=State.OPEN), writes=2, word=3)
    merged = merge(spoken, moved)
    assert (merged.writes, merged.word) == (2, 7)
    assert (merged.record.generation, merged.record.mode) == (4, Mode.DISABLED)
    assert merged == Said.of(merged.record, writes=2, word=7)
