"""A breaker as one process sees it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from celery_breaker.core.machine import Admission, admission
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Override, Record, State
from celery_breaker.engine.view import Cell, Ticket
from tests.core.strategies import records, times


def cell_with(record: Record) -> Cell:
    cell = Cell(record.name, Policy(), at=0.0)
    cell.apply(record, epoch=0, at=0.0)
    return cell


def test_an_unknown_breaker_passes() -> None:
    cell = Cell("smtp", Policy(), at=0.0)
    assert cell.passing and not cell.known


@given(records, times)
def test_what_passes_unseen_would_be_admitted_on_a_closer_look(record: Record, now: float) -> None:
    cell = cell_with(record)
    assert cell.known
    assert cell.passing <= (admission(record, cell.policy, now) is Admission.ADMIT)


@pytest.mark.parametrize(
    ("record", "passing"),
    [
        (Record(name="smtp"), True),
        (Record(name="smtp", state=State.OPEN), False),
        (Record(name="smtp", state=State.HALF_OPEN), False),
        (Record(name="smtp", override=Override(mode=Mode.FORCED_OPEN, since=0)), False),
        (Record(name="smtp", state=State.OPEN, override=Override(mode=Mode.DISABLED, since=0)), True),
        (Record(name="smtp", state=State.OPEN, override=Override(mode=Mode.OBSERVING, since=0)), True),
        (Record(name="smtp", override=Override(mode=Mode.DISABLED, since=0, expires=9)), False),
    ],
)
def test_only_what_needs_no_clock_passes_unseen(record: Record, passing: bool) -> None:
    assert cell_with(record).passing is passing


def test_calls_of_one_generation_share_a_ticket() -> None:
    cell = cell_with(Record(name="smtp", generation=3))
    ticket = cell.ticket
    cell.apply(replace(cell.record, draining=True), epoch=0, at=1.0)
    assert cell.ticket is ticket
    cell.apply(replace(cell.record, generation=4), epoch=0, at=2.0)
    assert cell.ticket is not ticket and cell.ticket.generation == 4


def test_another_store_s_generation_is_another_ticket() -> None:
    cell = cell_with(Record(name="smtp", generation=3))
    ticket = cell.ticket
    cell.apply(cell.record, epoch=1, at=1.0)
    assert cell.ticket is not ticket


def test_successes_are_taken_once() -> None:
    ticket = Ticket(Cell("smtp", Policy(), at=0.0), generation=0, epoch=0)
    taken = []
    for successes in (0, 3, 0, 1, 5):
        for _ in range(successes):
            next(ticket.counter)
        taken.append(ticket.take_successes())
    assert taken == [0, 3, 0, 1, 5]
