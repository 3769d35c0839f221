"""Options that are set while the fleet runs: which can be, what they make of a policy, and what becomes of a record."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest
from hypothesis import given

from celery_breaker.core import machine
from celery_breaker.core.events import change_between
from celery_breaker.core.journal import Event, entry_of
from celery_breaker.core.merge import Said, merge, written
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Record, State, decode, encode
from celery_breaker.core.tuning import FIXED, SETTABLE, retuned, tuned, tuning_words
from celery_breaker.errors import ConfigurationError
from tests.core.strategies import records

TEN = (("max_failures", 10),)


def test_what_is_set_holds_over_the_policy_and_the_rest_stays() -> None:
    policy = Policy(max_failures=3, jitter=0)
    assert tuned(policy, TEN) == replace(policy, max_failures=10)
    assert tuned(policy, ()) is policy


def test_every_option_is_either_settable_or_says_why_not() -> None:
    assert {*SETTABLE, *FIXED} == {field.name for field in dataclasses.fields(Policy)}
    assert not {*SETTABLE} & {*FIXED}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("max_failure", 3, "did you mean 'max_failures'"),
        ("max_failures", 0, "at least 1"),
        ("max_failures", "many", "at least 1"),
        ("max_failures", 10**15, "a number or a word"),
        ("jitter", float("nan"), "a number or a word"),
        ("failure_rate", [0.5], "a number or a word"),
        ("scope", "worker", "cannot be set while the fleet runs"),
        ("classify", "proj.judge", "it is code"),
        ("on_open", "proj.fallback", "cannot be set while the fleet runs"),
        ("on_open", "pause", "cannot be set while the fleet runs"),
        ("on_open", "prak", "cannot be set while the fleet runs; did you mean 'park'"),
        ("backoff", "quadratic", "cannot be set while the fleet runs"),
        ("recovery_timeout", 5000.0, "max_recovery_timeout"),
    ],
)
def test_what_cannot_be_set_is_said_in_one_sentence(name: str, value: object, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        tuned(Policy(), ((name, value),))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_options_are_given_and_dropped_one_by_one() -> None:
    both = retuned(TEN, given={"jitter": 0.0})
    assert both == (("jitter", 0.0), ("max_failures", 10))
    assert retuned(both, given={"max_failures": 20}) == (("jitter", 0.0), ("max_failures", 20))
    assert retuned(both, dropped=["jitter", "ramp_start"]) == TEN
    assert retuned(both, dropped=None) == ()


def test_dropping_what_is_no_option_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'max_failures'"):
        retuned(TEN, dropped=["max_failure"])
    assert retuned((("of_a_newer_release", 1),), dropped=["of_a_newer_release"]) == ()


def test_words_for_people() -> None:
    assert tuning_words((("failure_window", "100 calls"), ("probe_timeout", None))) == (
        "failure_window=100 calls, probe_timeout=none"
    )


# --- the record -------------------------------------------------------------------------------------------------------


@given(records)
def test_what_is_set_survives_every_transition_and_every_word_of_an_operator(record: Record) -> None:
    record = replace(record, tuning=TEN)
    steps = [
        machine.close(record, now=1.0),
        machine.reset(record, now=1.0),
        machine.override(record, Mode.FORCED_OPEN, now=1.0),
        machine.override(record, Mode.AUTO, now=1.0),
        machine.half_opened(record, now=record.until),
        machine.relax(record, now=4e9),
    ]
    assert all(after.tuning == TEN for after in steps)


def test_an_option_moves_neither_state_nor_generation() -> None:
    record = Record(name="smtp", state=State.OPEN, generation=4, until=30.0)
    assert machine.retuned(record, TEN) == replace(record, tuning=TEN)
    assert machine.retuned(record, ()) is record


def test_another_window_begins_empty() -> None:
    record = Record(name="smtp", generation=4)
    wide = machine.retuned(record, (("failure_window", 600.0),))
    assert wide.generation == 5
    assert machine.retuned(wide, (("failure_window", 600.0), *TEN)).generation == 5
    assert machine.retuned(wide, ()).generation == 6


def test_a_record_without_options_is_written_as_ever() -> None:
    assert "tuning" not in encode(Record(name="smtp"))
    assert decode(encode(Record(name="smtp", tuning=TEN)), version=0).tuning == TEN


@pytest.mark.parametrize("tuning", ["[]", '{"max_failures":[1]}', '{"jitter":NaN}', '{"max_failures":1e15}', '"x"'])
def test_options_that_none_could_have_set_make_no_record(tuning: str) -> None:
    data = encode(Record(name="smtp")).replace('"name"', f'"tuning":{tuning},"name"')
    with pytest.raises(ValueError, match="not a breaker record"):
        decode(data, version=0)


# --- who hears of it --------------------------------------------------------------------------------------------------


def test_setting_an_option_is_news_for_the_fleet_and_for_the_journal() -> None:
    record = Record(name="smtp", tuning=TEN)
    change = change_between(record, machine.retuned(record, (("jitter", 0.0), *TEN)), at=5.0)
    assert change is not None
    assert not change.moved
    assert not change.overridden
    entry = entry_of(change, by="eve")
    assert (entry.event, entry.before, entry.what, entry.by) == (
        Event.TUNED,
        "max_failures=10",
        "jitter=0.0, max_failures=10",
        "eve",
    )


def test_going_back_is_news_too() -> None:
    record = Record(name="smtp", tuning=TEN)
    change = change_between(record, machine.retuned(record, ()), at=5.0)
    assert change is not None
    assert (change.tuning, entry_of(change, by="eve").what) == ((), "")


def test_without_a_database_the_later_word_wins_and_no_transition_takes_it_back() -> None:
    closed = written(None, Record(name="smtp"), now=1.0)
    set_ = written(closed, replace(closed.record, tuning=TEN), now=2.0)
    tripped = written(closed, Record(name="smtp", generation=1, state=State.OPEN, until=30.0), now=3.0)
    both = merge(set_, tripped)
    assert (both.record.state, both.record.tuning) == (State.OPEN, TEN)
    back = written(both, replace(both.record, tuning=()), now=4.0)
    assert merge(both, back).record.tuning == ()
    assert Said.decode(both.encode()) == both
