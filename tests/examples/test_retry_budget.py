"""docs/examples/retry_budget.py does what the page says."""

from __future__ import annotations

import pytest

from tests.examples import load


@pytest.mark.parametrize(("calls", "retries"), [(0, 3), (100, 10), (1_000, 100), (10_000, 1_000)])
def test_retries_are_a_tenth_of_the_calls_and_three_in_any_case(calls: int, retries: int) -> None:
    assert load("retry_budget").retries_a_minute(calls) == retries
