"""A clock from a server that tells whole seconds: the machine's own, held to what the server says."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Ticks"]

_BEHIND, _AHEAD = 1.0, 3.5
"""By how many seconds a clock that is in step with the server's may be behind, and ahead of, the second it tells.

memcached adds whole seconds of two clocks (1 s either way), cuts off the rest (1 s), and looks again each second, some
of which last longer (1 s and more).
"""

_DRIFT = 1e-4
"""Seconds per second by which two machines may come apart."""

_FIRST_PAUSE, _LAST_PAUSE = 1.0, 10.0
"""Seconds between two answers: the first few come soon, since each may rule out what the others left open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """What is known of a server's clock. A machine whose own clock fits all answers keeps it, so that all processes of
    all such machines agree to the millisecond; one whose clock is wrong goes by the nearest time that fits.

    No use is made of the moments at which the server's second changes: memcached looks at its clock a little later each
    time, by about a millisecond, so they wander through the whole second within half an hour.

    Attributes:
        low, high: between which seconds lies what has to be added to the local clock, by all answers so far.
        own: what would have to be added to get the machine's own time of day.
        at: by the local clock, when the last answer came.
        answers: how many there were.
    """

    low: float = -math.inf
    high: float = math.inf
    own: float = 0.0
    at: float = -math.inf
    answers: int = 0

    @property
    def offset(self) -> float:
        """Seconds to add to the local clock."""
        return min(max(self.own, self.low), self.high)

    def due(self, at: float) -> bool:
        """Whether the server should be asked again."""
        return at - self.at >= min(_FIRST_PAUSE * self.answers, _LAST_PAUSE)

    def heard(self, second: int, *, sent: float, received: float, own: float) -> Ticks:
        """Learn from an answer that this is the second. An answer that contradicts what was known begins anew: the
        server is another, or was started again.

        Args:
            sent, received: by the local clock, when it was asked for, and when it came.
            own: the machine's time of day less the local clock.

        Example:
            >>> Ticks().heard(1000, sent=7.0, received=7.0, own=994.2).offset
            994.2
            >>> Ticks().heard(1000, sent=7.0, received=7.0, own=0.0).offset
            992.0
        """
        low, high = second - _BEHIND - received, second + _AHEAD - sent
        aged = _DRIFT * (received - self.at) if self.answers else 0.0
        both = max(low, self.low - aged), min(high, self.high + aged)
        if both[0] > both[1]:
            return Ticks(low=low, high=high, own=own, at=received, answers=1)
        return Ticks(low=both[0], high=both[1], own=own, at=received, answers=self.answers + 1)
