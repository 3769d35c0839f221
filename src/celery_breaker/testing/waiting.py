"""Waiting on a condition instead of sleeping for a guess."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, TypeVar

__all__ = ["eventually"]

T = TypeVar("T")


def eventually(
    condition: Callable[[], T | Literal[False] | None],
    message: str | Callable[[], str] = "",
    *,
    timeout: float = 10.0,
    interval: float = 0.02,
    ignore: tuple[type[Exception], ...] = (),
) -> T:
    """Call ``condition`` until it returns something true, and return that.

    ``timeout`` and ``interval`` are seconds. An exception of a type in ``ignore``, or an `AssertionError`, counts as
    "not yet". Raises `AssertionError` with ``message`` (a callable is asked at the end), and with what came last, when
    the time is over. The condition is always tried once more after the deadline, so a machine that stalls is no bug.

    Example:
        >>> eventually(lambda: len("abc"))
        3
    """
    deadline = time.monotonic() + timeout
    not_yet: tuple[type[Exception], ...] = (AssertionError, *ignore)
    while True:
        late = time.monotonic() >= deadline
        last: object
        try:
            value = condition()
            if value:
                return value
            last = value
        except not_yet as exc:
            last = exc
        if late:
            text = message() if callable(message) else message
            raise AssertionError(f"not within {timeout:g} s: {text or repr(condition)} (last: {last!r})")
        time.sleep(interval)
