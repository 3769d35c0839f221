"""The record and its form on the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.core import machine
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Override, Record, State, decode, encode
from celery_breaker.core.windows import Totals
from tests.core.strategies import records

FULL = Record(
    name="smtp",
    state=State.OPEN,
    generation=3,
    version=7,
    since=100.0,
    until=130.0,
    trips=2,
    last_fault=99.0,
    reason="5 of 5 calls failed",
    override=Override(mode=Mode.FORCED_OPEN, since=1.0, expires=2.0, reason="maintenance", by="eve"),
    draining=True,
    ramp=20.0,
)
WIRE = json.loads(encode(FULL))


@given(records)
def test_what_is_written_is_read(record: Record) -> None:
    assert decode(encode(record), version=record.version) == record
    assert decode(encode(record).encode(), version=record.version) == record


def test_the_version_travels_beside_the_record() -> None:
    assert "version" not in WIRE
    assert decode(encode(FULL), version=99).version == 99


def test_the_form_on_the_wire_is_stable() -> None:
    """Releases of different age share a store: a change here must still read the old form."""
    assert encode(FULL) == (
        '{"name":"smtp","state":"open","generation":3,"since":100.0,"until":130.0,"trips":2,"successes":0,'
        '"last_fault":99.0,"reason":"5 of 5 calls failed","override":{"mode":"forced_open","since":1.0,"expires":2.0,'
        '"reason":"maintenance","by":"eve"},"draining":true,"ramp":20.0,"recovering":null}'
    )


def test_keys_of_a_newer_release_are_ignored() -> None:
    newer = {**WIRE, "colour": "red", "override": {**WIRE["override"], "ticket": 5}}
    assert decode(json.dumps(newer), version=7) == FULL


def test_keys_that_an_older_release_did_not_write_have_their_defaults() -> None:
    assert decode('{"name":"smtp"}', version=1) == Record(name="smtp", version=1)


def test_times_may_be_far_away() -> None:
    assert decode(json.dumps({**WIRE, "until": 9e11, "since": -9e11}), version=1).until == 9e11


def test_names_stay_readable_on_the_wire() -> None:
    assert '"Zürich 🏦"' in encode(Record(name="Zürich 🏦"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe\x00",
        "hello",
        "null",
        "[]",
        "5",
        "{}",
        '{"name":5}',
        '{"name":""',
        "[" * 100_000,
        *(
            json.dumps({**WIRE, key: value})
            for key in ("generation", "trips", "successes")
            for value in (None, "1", 1.5, -1)
        ),
        *(json.dumps({**WIRE, key: value}) for key in ("since", "until", "ramp") for value in (None, "1", [], True)),
        *(json.dumps({**WIRE, key: float("nan")}) for key in ("since", "until", "ramp", "last_fault")),
        *(json.dumps({**WIRE, "until": value}) for value in (float("inf"), 10**400)),
        *(json.dumps({**WIRE, "last_fault": value}) for value in ("1", {}, False)),
        *(json.dumps({**WIRE, "state": value}) for value in (None, "ajar", 5, [])),
        *(json.dumps({**WIRE, "reason": value}) for value in (None, 5)),
        *(json.dumps({**WIRE, "draining": value}) for value in (None, 1)),
        *(json.dumps({**WIRE, "override": value}) for value in ("x", 5, [], {}, {"mode": "forced_open"})),
        *(
            json.dumps({**WIRE, "override": {**WIRE["override"], **change}})
            for change in ({"mode": "x"}, {"mode": []}, {"since": "x"}, {"expires": "x"}, {"reason": 5}, {"by": None})
        ),
    ],
)
def test_what_is_no_record_is_a_value_error(data: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the message is whoever's found the fault
        decode(data, version=1)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"trips": -1}, "a count is none"),
        ({"until": 1e12}, "a time is none"),
        ({"tuning": {"jitter": 1e12}}, "an option is none"),
        ({"since": -1e12}, "a time is none"),
        ({"reason": 5}, "a word is none"),
        ({"override": {"since": 1.0}}, "'mode'"),
    ],
)
def test_what_is_wrong_with_a_record_is_said(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=f"^not a breaker record: {fault}$"):
        decode(json.dumps({**WIRE, **change}), version=1)


def test_half_a_character_is_written_so_that_every_store_can_take_it() -> None:
    """A shell that speaks Latin-1 gives one to Python."""
    record = Record(name="smtp", reason="gesperrt f\udcfcr heute ☕")
    text = encode(record)
    assert "f\\udcfcr heute ☕" in text
    assert decode(text.encode(), version=0) == record


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.dictionaries(st.sampled_from(sorted(WIRE)), json_values, max_size=3),
    st.none() | st.dictionaries(st.sampled_from(sorted(WIRE["override"])), json_values, max_size=2),
)
def test_what_can_be_read_can_be_worked_with(change: dict[str, Any], inner: dict[str, Any] | None) -> None:
    data = {**WIRE, **change}
    if inner is not None:
        data["override"] = {**WIRE["override"], **inner}
    try:
        record = decode(json.dumps(data), version=1)
    except ValueError:
        return
    policy, totals = Policy(), Totals(now=5.0, calls=5, failures=5)
    machine.admission(record, policy, 5.0)
    machine.retry_after(record, 5.0)
    for after in (
        machine.tripped(record, totals, policy, now=5.0, u=0.5),
        machine.half_opened(record, now=5.0),
        machine.probe_succeeded(record, policy, generation=record.generation, now=5.0),
        machine.probe_failed(record, policy, generation=record.generation, now=5.0, u=0.5, reason=""),
        machine.relax(record, now=5.0),
        machine.reset(record, now=5.0),
    ):
        assert decode(encode(after), version=1).generation in (record.generation, record.generation + 1)
