"""Sliding windows: which bucket a call falls into, and what a window adds up to."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from celery_breaker.errors import ConfigurationError

__all__ = ["BUCKETS", "Delta", "Totals", "Window", "parse_window"]

BUCKETS = 10
"""Buckets per window: it slides in steps of a tenth of its span."""

_LONGEST_PAUSE = 5.0
"""Seconds that successes wait at the most, however wide a bucket is."""


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window over time (``by_calls`` false, span in seconds) or over the last calls.

    A bucket is a tenth of the span, so a call leaves the window between nine and ten tenths of the span
    after it came in (for windows of fewer than ten calls: exactly).

    Example:
        >>> Window(60.0).width, Window(100, by_calls=True).width
        (6.0, 10.0)
    """

    span: float
    by_calls: bool = False

    @property
    def buckets(self) -> int:
        """How many buckets, the current one included, make up the window."""
        return min(BUCKETS, int(self.span)) if self.by_calls else BUCKETS

    @property
    def width(self) -> float:
        """Seconds, or calls, that share a bucket."""
        return self.span / self.buckets

    def bucket_at(self, now: float, calls: int) -> int:
        """The bucket of the present: by the clock, or by how many calls have been counted, the latest included."""
        # Multiplied first: a quotient that is whole then comes out whole.
        return math.floor((max(calls - 1, 0) if self.by_calls else now) * self.buckets / self.span)

    def counted(self, delta: Delta) -> int:
        """Calls of a delta that its bucket takes: of a sliding count, no more than share one, but all that matter."""
        return min(delta.calls, max(int(self.width), delta.failures, delta.slow)) if self.by_calls else delta.calls

    def pause(self, refresh: float) -> float:
        """Seconds that plain successes may wait to be told together, by who looks each ``refresh`` seconds."""
        return refresh if self.by_calls else min(max(self.width, refresh), _LONGEST_PAUSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What one worker adds to a window in one go.

    Attributes:
        calls: calls that ended with a verdict.
        failures: those that failed (slow ones too where a slow call is a failure).
        slow: those that were slow.
        streak: failures since the last success among them.
        unbroken: no success among them, so the streak adds to the one before.

    Example:
        >>> Delta(calls=2, failures=2, streak=2).streak_after(3)
        5
    """

    calls: int = 0
    failures: int = 0
    slow: int = 0
    streak: int = 0
    unbroken: bool = True

    def then(self, *, failed: bool, slow: bool) -> Delta:
        """This and one more call.

        Example:
            >>> Delta().then(failed=True, slow=False).then(failed=False, slow=False)
            Delta(calls=2, failures=1, slow=0, streak=0, unbroken=False)
        """
        return Delta(
            calls=self.calls + 1,
            failures=self.failures + failed,
            slow=self.slow + slow,
            streak=self.streak + 1 if failed else 0,
            unbroken=self.unbroken and failed,
        )

    def plus(self, more: Delta) -> Delta:
        """This and another that came after it.

        Example:
            >>> Delta(calls=1, failures=1, streak=1).plus(Delta(calls=3, failures=2, streak=2)).streak
            3
        """
        return Delta(
            calls=self.calls + more.calls,
            failures=self.failures + more.failures,
            slow=self.slow + more.slow,
            streak=more.streak_after(self.streak),
            unbroken=self.unbroken and more.unbroken,
        )

    def streak_after(self, streak: int) -> int:
        """Failures in a row after this, if there were so many before."""
        return streak + self.streak if self.unbroken else self.streak


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the fleet's window adds up to, and by the store's clock when.

    Attributes:
        streak: failures in a row, whatever the window says.
        workers: distinct workers that saw a failure within the window, with the failures of each.

    Example:
        >>> Totals(now=100.0, calls=7, failures=5, workers={"a": 5}).failures
        5
    """

    now: float
    calls: int = 0
    failures: int = 0
    slow: int = 0
    streak: int = 0
    workers: dict[str, int] = field(default_factory=dict)


_BY_CALLS = re.compile(r"\s*(\d+)\s*calls?\s*")


def parse_window(value: float | str) -> Window:
    """Seconds, or ``"100 calls"``, as a `Window`.

    Raises:
        ConfigurationError: neither, or not above 0.

    Example:
        >>> parse_window("100 calls")
        Window(span=100.0, by_calls=True)
    """
    if isinstance(value, str):
        if not (match := _BY_CALLS.fullmatch(value)):
            raise ConfigurationError(f"failure_window={value!r} is neither seconds nor like '100 calls'")
        window = Window(span=float(match[1]), by_calls=True)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigurationError(f"failure_window={value!r} is neither seconds nor like '100 calls'")
    else:
        window = Window(span=float(value))
    if not window.span > 0 or window.span == float("inf"):
        raise ConfigurationError(f"failure_window={value!r} must be above 0")
    return window
