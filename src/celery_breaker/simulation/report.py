"""What a simulation found. All times are seconds since its start, unless something else is said."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celery_breaker.core.record import State

__all__ = ["CLOSED", "DRAINING", "FAILING", "OPEN", "PHASES", "OpenInterval", "Report", "Series", "Tasks", "Transition"]

CLOSED, FAILING, OPEN, DRAINING = PHASES = ("closed", "failing", "open", "draining")
"""Closed with nothing to bring back; closed in an outage, before the trip; open or half-open; closed while parked
tasks go back."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of the state. ``up``: the service was up then; ``until``: when the next probe is due."""

    at: float
    before: State
    after: State
    reason: str
    up: bool
    until: float


@dataclass(frozen=True, slots=True)
class OpenInterval:
    """From one opening to the next, or to the close; ``ended`` is ``None`` if the simulation ended first.

    Attributes:
        in_flight: calls under way when it began; they cannot be called back.
        late: calls to the dead service by workers that had not heard yet.
        probes: calls to the dead service with a permit, and health checks.
    """

    opened: float
    ended: float | None
    in_flight: int
    late: int
    probes: int


@dataclass(frozen=True, slots=True)
class Tasks:
    """Where the tasks are at the end. ``arrived`` is the sum of all the others but ``deferrals`` and ``retries``.

    Attributes:
        failed: the call failed, and no try was left.
        refused: failed with `BreakerOpen`.
        fallbacks: ended by the callable that is ``on_open``.
        waiting: in the queue or a worker's hand. delayed: wait for their time. running: are being called.
        deferrals: how often any was set aside. retries: tries after the first.
    """

    arrived: int
    done: int
    failed: int
    refused: int
    fallbacks: int
    parked: int
    waiting: int
    delayed: int
    running: int
    deferrals: int
    retries: int


@dataclass(frozen=True, slots=True)
class Series:
    """One value per ``seconds``: the state, parked and queued tasks at its end; calls that began in it."""

    seconds: float
    states: tuple[str, ...]
    parked: tuple[int, ...]
    queued: tuple[int, ...]
    succeeded: tuple[int, ...]
    failed: tuple[int, ...]

    def peak(self, start: float, end: float) -> float:
        """Most calls per second that began between two times."""
        places = range(int(start / self.seconds), min(int(end / self.seconds) + 1, len(self.states)))
        return max((self.succeeded[place] + self.failed[place] for place in places), default=0) / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What happened.

    Attributes:
        seconds: how long it was simulated.
        workers: size of the fleet.
        recovered: when the last outage ended; 0 if there was none.
        dead_calls: calls to the service, health checks included, while it was down.
        most_parked: parked tasks at the worst moment.
        drained: when the last task that had been set aside was done; ``None`` if some are left, or none ever was.
        operations: of the store, by phase (see `PHASES`) and kind.
        phases: seconds in each phase.
    """

    seconds: float
    workers: int
    recovered: float
    first_outage: float | None
    tasks: Tasks
    dead_calls: int
    most_parked: int
    drained: float | None
    transitions: tuple[Transition, ...]
    intervals: tuple[OpenInterval, ...]
    operations: Mapping[str, Mapping[str, int]]
    phases: Mapping[str, float]
    series: Series

    # --- calls to the dead service ----------------------------------------------------------------------------------

    @property
    def trips(self) -> int:
        """Times that a closed breaker opened."""
        return sum(one.before is State.CLOSED and one.after is State.OPEN for one in self.transitions)

    @property
    def relapses(self) -> int:
        """Trips while the service was up."""
        return sum(one.up and one.before is State.CLOSED and one.after is State.OPEN for one in self.transitions)

    @property
    def late(self) -> int:
        """Calls to the dead service that began after a trip, for a worker had not heard of it."""
        return sum(one.late for one in self.intervals)

    @property
    def probes(self) -> int:
        """Calls to the dead service to see whether it is back."""
        return sum(one.probes for one in self.intervals)

    @property
    def wasted(self) -> int:
        """Calls to the dead service that began after a trip: late ones and probes."""
        return self.late + self.probes

    # --- times --------------------------------------------------------------------------------------------------------

    @property
    def time_to_trip(self) -> float | None:
        """Seconds from the start of the first outage to the first trip after it."""
        if self.first_outage is None:
            return None
        start = self.first_outage
        times = (one.at for one in self.transitions if one.at >= start and one.after is State.OPEN)
        return next((at - start for at in times), None)

    @property
    def closed_at(self) -> float | None:
        """When the breaker closed first after the last outage; ``None`` if it never did."""
        closings = (one.at for one in self.transitions if one.after is State.CLOSED and one.at >= self.recovered)
        return next(closings, None)

    @property
    def time_to_close(self) -> float | None:
        """Seconds from the end of the last outage to the close."""
        return None if self.closed_at is None else self.closed_at - self.recovered

    @property
    def time_to_drain(self) -> float | None:
        """Seconds from the close until the last task that had been set aside was done."""
        if self.closed_at is None or self.drained is None:
            return None
        return max(0.0, self.drained - self.closed_at)

    @property
    def peak_rate(self) -> float:
        """Most calls per second after the last outage."""
        return self.series.peak(self.recovered, self.seconds)

    # --- the store ----------------------------------------------------------------------------------------------------

    def total(self, phase: str | None = None) -> int:
        """Operations of the store, in one phase or in all."""
        return sum(sum(self.operations[name].values()) for name in ([phase] if phase else PHASES))

    def per_worker(self, phase: str) -> float | None:
        """Operations per second of one worker in a phase; ``None`` if it never came to that."""
        seconds = self.phases[phase]
        return self.total(phase) / seconds / self.workers if seconds > 0 else None

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON has it, with what follows from it."""
        derived = (
            "trips",
            "relapses",
            "late",
            "probes",
            "wasted",
            "time_to_trip",
            "time_to_close",
            "time_to_drain",
            "peak_rate",
        )
        found = dataclasses.asdict(self)
        return {**{name: getattr(self, name) for name in derived}, **found}
