"""`Breakers`: all that a test does with the breakers of its app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from celery_breaker.clock import ManualClock
from celery_breaker.core import machine
from celery_breaker.core.record import Mode, Record, State
from celery_breaker.errors import BreakerError
from celery_breaker.testing import forcing
from celery_breaker.testing.deferred import Deferred, Named, Wanted, listed
from celery_breaker.testing.house import House
from celery_breaker.testing.waiting import eventually

__all__ = ["Breakers"]

_HEAR = 10.0
"""Seconds that workers elsewhere are given to hear of what was forced."""


class Breakers:
    """The breakers of one app, or of several that share them, in the hands of a test.

    The fixture ``breakers`` is one; without pytest, `in_memory`, `attached` and `forced` give one.

    Example:
        >>> from celery import Celery
        >>> from celery_breaker.testing import in_memory
        >>> app = Celery("example", set_as_current=False, broker="memory://", breakers={"geo": {}})
        >>> with in_memory(app) as breakers, breakers.forced("geo", "open"):
        ...     print(breakers.state("geo"))
        open

    Every method raises `UnknownBreakerError` for a name that no task, setting or record knows.
    """

    def __init__(self, houses: Sequence[House], *, clock: ManualClock | None = None) -> None:
        self._houses = houses
        self._clock = clock

    @property
    def clock(self) -> ManualClock:
        """The clock of breakers in memory; ``advance`` also does what becomes due.

        Raises:
            BreakerError: these breakers are shared with processes that have clocks of their own.
        """
        if self._clock is None:
            raise BreakerError(
                "these breakers are kept where workers share them, on real time; only in memory can time be turned"
            )
        return self._clock

    # --- steering -----------------------------------------------------------------------------------------------------

    def forced(self, name: str, state: str, *, wait: float = _HEAR) -> AbstractContextManager[None]:
        """Force a breaker for the time of a with-block; afterwards it is as it was, also if the block fails. Nests.

        ``"open"`` and ``"disabled"`` (admits everything) hold whatever happens, and so does ``"observing"``;
        ``"closed"`` and ``"half_open"`` are where it begins, and its own rules go on from there.

        Args:
            wait: seconds that workers in other processes are given to hear of it.

        Raises:
            UnknownBreakerError: no breaker has this name.
            ConfigurationError: there is no such state.
            BreakerError: a worker did not hear of it in time; `StoreError`: nor did the store.
        """
        return forcing.forcing(self._house_of(name), name, state, wait=wait)

    def trip(self, name: str) -> None:
        """Open a breaker the way enough failures would, or a half-open one the way a failed probe would.

        Raises:
            UnknownBreakerError: no breaker has this name.
        """
        forcing.trip(self._house_of(name), name)

    def release(self, name: str) -> int:
        """Release what this breaker has set aside, as the agent would; how many tasks.

        Eager tasks run before this returns, and what ``delay`` had returned then shows how they ended; if the app's
        tasks propagate, the first error is raised at the end. A worker's tasks go back to the queue.
        """
        self._house_of(name)
        return sum(house.release(name) for house in self._houses)

    # --- looking ------------------------------------------------------------------------------------------------------

    def state(self, name: str) -> State:
        """The state in force: what is forced open is open."""
        return machine.state_at(*self._record(name))

    def mode(self, name: str) -> Mode:
        """The mode in force."""
        return machine.mode_at(*self._record(name))

    def _record(self, name: str) -> tuple[Record, float]:
        registry = self._house_of(name).registry
        registry.refresh([name])
        return registry.cell(name).record, registry.link.now()

    @property
    def deferred(self) -> list[Deferred]:
        """What is set aside and not released yet, the oldest first.

        Raises:
            BrokerError: the broker does not show what is parked.
        """
        return [one for house in self._houses for one in house.deferred()]

    def assert_deferred(
        self,
        task: Named | str,
        *,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        breaker: str | None = None,
        timeout: float = 10.0,
    ) -> Deferred:
        """Assert that a task is set aside, and return the first that fits. What is not given may be anything.

        Args:
            timeout: seconds that a worker is given to set it aside; an eager call needs none.

        Raises:
            AssertionError: none is; the message lists those that are.
        """
        wanted = Wanted(
            task=task if isinstance(task, str) else str(task.name), args=args, kwargs=kwargs, breaker=breaker
        )
        here = [one for house in self._houses for one in house.deferred(elsewhere=False)]
        if found := _first(here, wanted):
            return found
        if all(house.eager for house in self._houses):
            raise AssertionError(f"{wanted} is not deferred, but:\n{listed(self.deferred)}")
        return eventually(
            lambda: _first(self.deferred, wanted),
            lambda: f"{wanted} is not deferred, but:\n{listed(self.deferred)}\n",
            timeout=timeout,
        )

    def assert_nothing_deferred(self) -> None:
        """Assert that nothing is set aside now. A worker's task may be about to be: wait for its result first.

        Raises:
            AssertionError: something is; the message lists it.
        """
        if found := self.deferred:
            raise AssertionError(f"nothing should be deferred, but:\n{listed(found)}")

    def _house_of(self, name: str) -> House:
        """The first that knows the breaker."""
        *others, last = self._houses
        for house in others:
            try:
                house.check(name)
            except BreakerError:
                continue
            return house
        last.check(name)
        return last


def _first(found: Sequence[Deferred], wanted: Wanted) -> Deferred | None:
    return next((one for one in found if wanted.fits(one)), None)
