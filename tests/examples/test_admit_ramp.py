"""docs/examples/admit_ramp.py does what the page says."""

from __future__ import annotations

from tests.examples import load


def test_fresh_calls_double_twice_a_second() -> None:
    assert load("admit_ramp").admitted(2.5) == [5, 10, 20, 40, 80]
