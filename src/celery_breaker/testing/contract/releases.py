"""What other releases of the package wrote, and what nobody can read."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from celery_breaker.core.record import Mode, Override, Record, State
from celery_breaker.stores.base import Store
from celery_breaker.testing.contract.access import StoreAccess

__all__ = ["ReleaseContract"]

CLOSED = (
    '{"name":"smtp","state":"closed","generation":0,"since":0.0,"until":0.0,"trips":0,"successes":0,'
    '"last_fault":null,"reason":"","override":null,"draining":false,"ramp":0.0}'
)
OPEN = (
    '{"name":"smtp","state":"open","generation":3,"since":100.5,"until":130.25,"trips":2,"successes":0,'
    '"last_fault":99.0,"reason":"5 of 5 calls failed",'
    '"override":{"mode":"forced_open","since":1.0,"expires":2.0,"reason":"Wartung ☕","by":"eve"},'
    '"draining":true,"ramp":20.0}'
)
HALF_OPEN = (
    '{"name":"smtp","state":"half_open","generation":4,"since":130.25,"until":0.0,"trips":2,"successes":1,'
    '"last_fault":null,"reason":"probing","override":null,"draining":false,"ramp":0.0}'
)
half_open = Record(name="smtp", version=41, state=State.HALF_OPEN, generation=4, since=130.25, trips=2, successes=1)
is_open = Record(
    name="smtp",
    version=41,
    state=State.OPEN,
    generation=3,
    since=100.5,
    until=130.25,
    trips=2,
    last_fault=99.0,
    reason="5 of 5 calls failed",
    override=Override(mode=Mode.FORCED_OPEN, since=1.0, expires=2.0, reason="Wartung ☕", by="eve"),
    draining=True,
    ramp=20.0,
)
WRITTEN_BY_0_1_0 = [
    pytest.param(CLOSED, Record(name="smtp", version=41), id="closed"),
    pytest.param(OPEN, is_open, id="open"),
    pytest.param(HALF_OPEN, replace(half_open, reason="probing"), id="half-open"),
]
"""As that release wrote them, and what they say. These texts never change; a later release adds its own."""


class ReleaseContract(StoreAccess):
    """Two releases may share a store while a fleet is being deployed."""

    @pytest.mark.parametrize(("text", "record"), WRITTEN_BY_0_1_0)
    def test_a_record_of_release_0_1_0_is_read_and_written_over(self, store: Store, text: str, record: Record) -> None:
        self.plant(store, "smtp", 41, text)
        assert store.read(["smtp"]).records["smtp"] == record
        assert store.names() == ["smtp"]
        assert store.swap(record, expected=41)
        assert store.read(["smtp"]).records["smtp"].version == 42

    def test_what_a_later_release_adds_is_ignored(self, store: Store) -> None:
        text = (
            '{"name":"smtp","state":"open","colour":"red","nested":{"a":[1,2]},"generation":3,'
            '"override":{"mode":"disabled","since":1.0,"ticket":7}}'
        )
        self.plant(store, "smtp", 41, text)
        override = Override(mode=Mode.DISABLED, since=1.0)
        expected = Record(name="smtp", version=41, state=State.OPEN, generation=3, override=override)
        assert store.read(["smtp"]).records["smtp"] == expected
        assert store.swap(expected, expected=41)

    @pytest.mark.parametrize("text", ['{"name":"smtp","state":"op', "", "garbage", '{"name":"smtp","state":"ajar"}'])
    def test_what_is_no_record_is_a_closed_breaker_and_is_named_in_the_log(
        self, store: Store, text: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING)
        self.plant(store, "smtp", 41, text)
        record = store.read(["smtp"]).records["smtp"]
        assert record == Record(name="smtp", version=record.version)
        assert any("smtp" in entry.getMessage() for entry in caplog.records)
        caplog.clear()
        store.read(["smtp"])
        assert caplog.records == [], "said once"
        assert store.swap(Record(name="smtp", generation=1), expected=record.version)
        assert store.read(["smtp"]).records["smtp"].generation == 1
