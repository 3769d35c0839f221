"""What some rooms forbid. A `conftest.py` takes a guard by importing it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest


# Per module, not per test: Hypothesis runs many examples in one call of a test.
@pytest.fixture(scope="module", autouse=True)
def no_sleep() -> Iterator[None]:
    """Makes `time.sleep` raise: a unit test turns a clock, it does not wait for one."""

    def refuse(seconds: float) -> None:
        raise AssertionError(f"time.sleep({seconds!r}) in a unit test: use the clock that is handed in")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", refuse)
        yield
