"""The log: one line for each change, its level, and the fields that it carries."""

from __future__ import annotations

import logging

import pytest

from celery_breaker.core import machine
from celery_breaker.core.record import Mode
from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.registry import Registry
from celery_breaker.status import actions
from celery_breaker.status.actions import Action
from tests.engine.world import World, end, fail, known

CHANGE = {
    "breaker", "state", "state_before", "mode", "mode_before", "generation", "trips", "reason", "by", "retry_after",
}  # fmt: skip
PLAIN = set(logging.makeLogRecord({}).__dict__) | {"message"}


def fields(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in record.__dict__.items() if key not in PLAIN}


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def do(registry: Registry, action: Action) -> None:
    registry.change(known(registry), action.step)


def test_a_trip_is_a_warning_with_its_fields(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    fail(registry, 3)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert fields(record) == {
        "breaker": "smtp",
        "state": "open",
        "state_before": "closed",
        "mode": "auto",
        "mode_before": "auto",
        "generation": 1,
        "trips": 1,
        "reason": "3 of 3 calls failed",
        "by": "",
        "retry_after": 30.0,
    }


def test_one_that_keeps_tripping_is_an_error(
    world: World, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    fail(registry, 3)
    for _ in range(2):
        world.clock.advance(1000)
        end(registry, registry.enter(registry.cell("smtp")), Verdict.FAILURE)
    trips = [record for record in caplog.records if "opened for" in record.getMessage()]
    assert [record.levelname for record in trips] == ["WARNING", "WARNING", "ERROR"]
    assert [fields(record)["trips"] for record in trips] == [1, 2, 3]


def test_a_thousand_failures_are_one_line(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    fail(registry, 1000)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("first", "then", "line"),
    [
        (None, actions.force(Mode.DISABLED, by="eve", reason="we move"), "is now disabled by eve: we move"),
        (actions.force(Mode.DISABLED, by="eve"), actions.auto(), "is now auto"),
        (actions.force(Mode.FORCED_OPEN, by="eve"), actions.close(by="al"), "is now auto"),
        (
            actions.force(Mode.FORCED_OPEN, by="eve"),
            actions.force(Mode.FORCED_OPEN, by="al", reason="longer", expires_in=60),
            "is closed, forced_open as before: longer",
        ),
        (None, actions.reset(by="eve"), "is closed, auto as before: reset by eve"),
    ],
    ids=["forced", "lifted", "closed", "forced anew", "reset"],
)
def test_what_an_operator_does_is_one_line(
    registry: Registry, caplog: pytest.LogCaptureFixture, first: Action | None, then: Action, line: str
) -> None:
    if first is not None:
        do(registry, first)
    caplog.clear()
    do(registry, then)
    assert caplog.messages == [f"breaker 'smtp' {line}"]
    assert set(fields(caplog.records[0])) == CHANGE


def test_a_change_that_moves_the_state_and_lifts_an_override_is_one_line(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    fail(registry, 3)
    do(registry, actions.force(Mode.FORCED_OPEN, by="eve"))
    caplog.clear()
    do(registry, actions.close(by="al"))
    assert caplog.messages == ["breaker 'smtp' is closed (was open): closed by al (now auto)"]
    assert caplog.records[0].levelno == logging.WARNING


def test_what_another_process_did_is_one_line_at_info(
    world: World, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    other = world.process("w2")
    known(other)
    fail(registry, 3)
    caplog.clear()
    other.refresh()
    other.refresh()
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.INFO, "breaker 'smtp' is open, says the store")
    assert fields(record) == {
        "breaker": "smtp",
        "state": "open",
        "mode": "auto",
        "generation": 1,
        "trips": 1,
        "reason": "3 of 3 calls failed",
    }


def test_the_store_s_coming_and_going_says_which_store(
    world: World, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    world.server.down = True
    registry.refresh()
    world.server.down = False
    world.clock.advance(1)
    registry.work()
    assert [fields(record)["store"] for record in caplog.records] == ["memory://server"] * 2


def test_a_record_that_is_written_back_carries_the_fields_of_a_breaker(
    world: World, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    fail(registry, 3)
    world.server.empty()
    caplog.clear()
    world.clock.advance(1)
    registry.refresh()
    assert [fields(record)["breaker"] for record in caplog.records] == ["smtp"]
    assert machine.admission(world.stored(), world.policy, world.clock()) is machine.Admission.REFUSE
