"""Tests of testing_app.py, with the fixture `breakers`: no broker, no store, no worker, no sleep."""

from __future__ import annotations

from unittest import mock

import pytest
from celery import Celery
from testing_app import app, bank, charge, check_out

from celery_breaker.testing import Breakers


@pytest.fixture
def breakers_app() -> Celery:
    """Which app is meant; unset, it is the current one."""
    app.conf.task_always_eager = True
    return app


def test_an_order_waits_while_the_bank_is_down(breakers: Breakers) -> None:
    with breakers.forced("bank", "open"):
        assert check_out(7) == "your payment waits for the bank"
    breakers.assert_deferred(charge, args=(7,))

    assert breakers.release("bank") == 1
    breakers.assert_nothing_deferred()


def test_a_deferred_charge_shows_its_receipt_later(breakers: Breakers) -> None:
    with breakers.forced("bank", "open"):
        result = charge.delay(7)
    assert not result.ready()
    breakers.release("bank")
    assert result.get() == "receipt 7"


def test_an_outage_from_end_to_end(breakers: Breakers) -> None:
    with mock.patch.object(bank, "charge", side_effect=OSError("down")):
        for order in range(3):
            assert charge.delay(order).state == "FAILURE"
        assert breakers.state("bank") == "open"
    breakers.clock.advance(30)
    assert breakers.state("bank") == "half_open"
    assert charge.delay(3).get() == "receipt 3"  # the probe
    assert breakers.state("bank") == "closed"
