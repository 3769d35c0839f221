"""What happened: counted while it does, and handed over as a `Report`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from celery_breaker.core.events import Change
from celery_breaker.core.record import Mode, Record, State
from celery_breaker.simulation.report import CLOSED, DRAINING, FAILING, OPEN, PHASES, OpenInterval, Series, Transition

__all__ = ["Counts", "Ledger"]


@dataclass(slots=True)
class _Interval:
    opened: float
    in_flight: int
    ended: float | None = None
    late: int = 0
    probes: int = 0


@dataclass(slots=True)
class Counts:
    """Tasks and calls so far.

    ``running`` are calls under way; ``delayed`` tasks wait for their time (a retry, or a deferral by ``"retry"``);
    ``deferred`` have been set aside and are not done yet.
    """

    arrived: int = 0
    done: int = 0
    failed: int = 0
    refused: int = 0
    fallbacks: int = 0
    deferrals: int = 0
    retries: int = 0
    running: int = 0
    delayed: int = 0
    deferred: int = 0
    most_parked: int = 0
    checks: int = 0


class Ledger:
    """Keeps count.

    Args:
        settle: counts the operations that are counted by division, from one time to another; called as a phase ends.
    """

    def __init__(self, *, sample: float, settle: Callable[[float, float], None]) -> None:
        self._sample = sample
        self._settle = settle
        self._since = 0.0
        self._settled = -1e-9
        self.phase = CLOSED
        self.seconds: dict[str, float] = dict.fromkeys(PHASES, 0.0)
        self.operations: dict[str, Counter[str]] = {phase: Counter() for phase in PHASES}
        self.counts = Counts()
        self.transitions: list[Transition] = []
        self.intervals: list[_Interval] = []
        self.dead_calls = 0
        self.drained: float | None = None
        self._calls: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
        self._points: list[tuple[str, int, int]] = []

    def operation(self, kind: str, count: int) -> None:
        """So many operations of the store."""
        if count:
            self.operations[self.phase][kind] += count

    def call(self, now: float, *, ok: bool, dead: bool, admitted: bool, probe: bool) -> None:
        """A call begins. ``dead``: the service is down. ``admitted``: the record says closed, or all are admitted."""
        self._calls[not ok][int(now / self._sample)] += 1
        self.counts.running += 1
        self.dead_calls += dead
        if dead and not admitted and self.intervals:
            if probe:
                self.intervals[-1].probes += 1
            else:
                self.intervals[-1].late += 1

    def check(self, *, dead: bool) -> None:
        """A health check begins: it calls the service like a probe."""
        self.counts.checks += 1
        self.dead_calls += dead
        if dead and self.intervals:
            self.intervals[-1].probes += 1

    def written(self, now: float, before: Record, after: Record, change: Change | None, *, up: bool) -> None:
        """The record has changed."""
        self.turn(now, after, up=up)
        if change is None or not change.moved:
            return
        self.transitions.append(Transition(now, before.state, after.state, after.reason, up, after.until))
        if before.state is not State.CLOSED and after.state is not State.HALF_OPEN and self.intervals:
            self.intervals[-1].ended = now
        if after.state is State.OPEN:
            self.intervals.append(_Interval(now, self.counts.running))
            self.drained = None

    def turn(self, now: float, record: Record, *, up: bool, end: bool = False) -> None:
        """Note that the record or the service has changed: perhaps a phase ends, and another begins."""
        phase = _phase_of(record, up=up)
        if phase != self.phase or end:
            self._settle(self._settled, now)
            self.seconds[self.phase] += now - self._since
            self._since = self._settled = now
            self.phase = phase

    def finished(self, now: float, record: Record) -> None:
        """A task that had been set aside is done; perhaps it was the last."""
        self.counts.deferred -= 1
        if not self.counts.deferred and record.state is State.CLOSED:
            self.drained = now

    # --- the time series ----------------------------------------------------------------------------------------------

    def point(self, record: Record, *, parked: int, queued: int) -> None:
        """The end of a sample."""
        state = State.OPEN if record.mode is Mode.FORCED_OPEN else record.state
        self._points.append((str(state), parked, queued))

    def series(self) -> Series:
        """One value per sample."""
        places = range(len(self._points))
        return Series(
            seconds=self._sample,
            states=tuple(state for state, _, _ in self._points),
            parked=tuple(parked for _, parked, _ in self._points),
            queued=tuple(queued for _, _, queued in self._points),
            succeeded=tuple(self._calls[0][place] for place in places),
            failed=tuple(self._calls[1][place] for place in places),
        )

    def open_intervals(self) -> tuple[OpenInterval, ...]:
        """The open intervals so far."""
        return tuple(
            OpenInterval(one.opened, one.ended, in_flight=one.in_flight, late=one.late, probes=one.probes)
            for one in self.intervals
        )


def _phase_of(record: Record, *, up: bool) -> str:
    """The phase in which an operation is counted."""
    if record.mode is Mode.FORCED_OPEN or record.state is not State.CLOSED:
        return OPEN
    if not up:
        return FAILING
    return DRAINING if record.draining else CLOSED
