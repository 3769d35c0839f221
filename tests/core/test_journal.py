"""Entries of a journal: what they say of a change, and that nothing stored can hurt who reads them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.core.events import Change, change_between
from celery_breaker.core.journal import Book, Entry, Event, decode_entry, encode_entry, entry_of
from celery_breaker.core.record import Mode, Override, Record, State

CLOSED = Record(name="smtp", version=1)
OPEN = replace(CLOSED, state=State.OPEN, generation=1, since=5.0, until=35.0, trips=1, reason="5 of 5 calls failed")

entries = st.builds(
    Entry,
    at=st.floats(0, 4e9),
    event=st.sampled_from(Event),
    what=st.text(max_size=50),
    before=st.text(max_size=10),
    generation=st.integers(0, 10**9),
    count=st.integers(0, 10**9),
    reason=st.text(max_size=50),
    by=st.text(max_size=10),
    task=st.text(max_size=10),
    task_id=st.text(max_size=10),
)


def changed(before: Record, after: Record) -> Change:
    change = change_between(before, after, at=5.0)
    assert change is not None
    return change


def test_a_transition_says_from_where_to_where_why_and_by_whom() -> None:
    entry = entry_of(changed(CLOSED, OPEN), by="celery@one")
    assert entry == Entry(
        at=5.0,
        event=Event.TRANSITION,
        what="open",
        before="closed",
        generation=1,
        count=1,
        reason="5 of 5 calls failed",
        by="celery@one",
    )


def test_an_operator_s_word_is_his_and_not_the_worker_s() -> None:
    override = Override(mode=Mode.FORCED_OPEN, since=5.0, reason="moving house", by="eve")
    entry = entry_of(changed(CLOSED, replace(CLOSED, override=override)), by="celery@one")
    assert (entry.event, entry.before, entry.what) == (Event.OVERRIDE, "auto", "forced_open")
    assert (entry.reason, entry.by, entry.count) == ("moving house", "eve", 0)


def test_an_order_counts_no_transitions_however_many_there_were() -> None:
    trips = replace(OPEN, trips=3)
    forced = replace(trips, override=Override(mode=Mode.FORCED_OPEN, since=5.0))
    assert entry_of(changed(trips, forced), by="w").count == 0
    tuned = entry_of(changed(trips, replace(trips, tuning=(("jitter", 0.0),))), by="w")
    assert (tuned.event, tuned.what, tuned.before, tuned.count) == (Event.TUNED, "jitter=0.0", "", 0)


def test_an_override_that_gets_another_reason_or_end_is_an_override_and_no_transition() -> None:
    first = Override(mode=Mode.FORCED_OPEN, since=5.0, reason="moving house", by="eve")
    forced = replace(CLOSED, override=first)
    again = replace(CLOSED, override=replace(first, since=6.0, reason="still moving", by="bob"))
    entry = entry_of(changed(forced, again), by="celery@one")
    assert (entry.event, entry.what, entry.reason, entry.by) == (Event.OVERRIDE, "forced_open", "still moving", "bob")


@given(entries)
def test_what_is_written_is_read(entry: Entry) -> None:
    assert decode_entry(encode_entry(entry)) == entry


@given(entries)
def test_it_is_ascii_on_one_line(entry: Entry) -> None:
    text = encode_entry(entry)
    assert text.isascii()
    assert "\n" not in text


def test_it_has_no_more_characters_than_it_needs() -> None:
    text = encode_entry(Entry(at=1.5, event=Event.PURGED, count=3, by="eve"))
    assert text == '{"at":1.5,"event":"purged","count":3,"by":"eve"}'


def test_long_texts_are_cut() -> None:
    assert len(encode_entry(Entry(at=1.0, event=Event.FAILURE, what="x" * 10_000))) < 1000


@given(st.text() | st.binary())
def test_what_is_no_entry_is_none(data: str | bytes) -> None:
    assert decode_entry(data) is None


def test_what_only_a_newer_release_knows_is_left_out_and_not_an_error() -> None:
    assert decode_entry('{"at":1.0,"event":"painted","what":"red"}') is None
    assert decode_entry('{"at":1.0,"event":"purged","colour":"red"}') == Entry(at=1.0, event=Event.PURGED)


def test_values_that_cannot_be_are_no_entry() -> None:
    for wrong in ('"at":1e300', '"at":NaN', '"at":1.0,"count":true', '"at":1.0,"by":7', '"at":1.0,"generation":1.5'):
        assert decode_entry(f'{{"event":"purged",{wrong}}}') is None


def test_changes_are_kept_for_longer_than_failures() -> None:
    assert Book.HISTORY.keep > Book.FAILURES.keep


def test_a_word_that_comes_with_a_transition_is_the_transition_s() -> None:
    forced = replace(CLOSED, override=Override(mode=Mode.FORCED_OPEN, since=1.0, by="eve"))
    entry = entry_of(changed(forced, replace(OPEN, override=None)), by="celery@one")
    assert (entry.event, entry.before, entry.what, entry.by) == (Event.TRANSITION, "closed", "open", "celery@one")


def test_each_word_of_an_operator_says_the_mode_before_and_the_generation() -> None:
    before = replace(OPEN, override=Override(mode=Mode.DISABLED, since=1.0, by="adam"))
    after = replace(OPEN, override=Override(mode=Mode.OBSERVING, since=5.0, by="eve"))
    entry = entry_of(changed(before, after), by="celery@one")
    assert (entry.before, entry.what, entry.generation, entry.at) == ("disabled", "observing", 1, 5.0)


def test_texts_are_cut_at_five_hundred_characters() -> None:
    entry = decode_entry(encode_entry(Entry(at=1.0, event=Event.FAILURE, what="x" * 501, reason="y" * 500)))
    assert entry is not None
    assert (len(entry.what), entry.reason) == (500, "y" * 500)


def test_times_go_to_the_end_of_what_is_exact_and_no_further() -> None:
    assert decode_entry('{"event":"purged","at":999999999999}') is not None
    assert decode_entry('{"event":"purged","at":1e12}') is None
    assert decode_entry('{"event":"purged"}') is None


def test_a_word_that_is_repeated_with_another_reason_is_an_override_still() -> None:
    before = replace(CLOSED, override=Override(mode=Mode.DISABLED, since=1.0, reason="moving", by="adam"))
    after = replace(CLOSED, override=Override(mode=Mode.DISABLED, since=2.0, reason="moving on", by="eve"))
    entry = entry_of(changed(before, after), by="celery@one")
    assert (entry.event, entry.before, entry.what) == (Event.OVERRIDE, "disabled", "disabled")
    assert (entry.reason, entry.by) == ("moving on", "eve")
