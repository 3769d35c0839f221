"""Tests of testing_app.py without pytest."""

from __future__ import annotations

import unittest

from testing_app import app, charge, check_out

from celery_breaker.testing import forced, in_memory


class CheckOut(unittest.TestCase):
    def setUp(self) -> None:
        app.conf.task_always_eager = True
        manager = in_memory(app)
        self.breakers = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)

    @forced("bank", "open", app=app)
    def test_an_order_waits_while_the_bank_is_down(self) -> None:
        assert check_out(7) == "your payment waits for the bank"
        self.breakers.assert_deferred(charge, args=(7,))

    def test_an_order_is_paid(self) -> None:
        assert check_out(7) == "thank you"


if __name__ == "__main__":
    unittest.main()
