"""The one read model: what is known of each breaker at one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field

from celery_breaker.core import machine
from celery_breaker.core.record import Mode, State, Value
from celery_breaker.core.windows import Totals
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Cell
from celery_breaker.status.ports import Waiting

__all__ = ["Status", "remembered", "status_of", "urgent_first"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One breaker, at one moment. Durations are in seconds.

    Attributes:
        since: how long the state has lasted; ``None`` if it was never left.
        retry_after: until a call may be admitted; 0 if one may now, ``None`` if forced open without an end.
        time_since_fault: since the failure that last opened it.
        calls, failures, slow: in the present window, of all workers.
        parked: tasks in the parking queue; ``None`` if the broker could not be asked.
        oldest_parked: for how long the task has waited that was parked first; ``None`` if none has, or nobody can say.
        draining: parked tasks are on their way back.
        release_rate: releases per second that the agent allows itself at present.
        tuning: options that an operator has set over the app's policy.
        overdue: for how long the next probe has been due; 0 if none is. More than a few rounds: nobody tends.

    Example:
        From a desk::

            [smtp] = current_desk().statuses(["smtp"])
            print(smtp.state, smtp.retry_after, smtp.parked)
    """

    name: str
    state: str
    mode: str
    generation: int
    since: float | None
    retry_after: float | None
    time_since_fault: float | None
    trips: int
    reason: str
    override_reason: str
    override_by: str
    override_expires_in: float | None
    calls: int
    failures: int
    slow: int
    workers: dict[str, int]
    parked: int | None
    draining: bool
    release_rate: float
    oldest_parked: float | None = None
    overdue: float = 0.0
    tuning: dict[str, Value] = field(default_factory=dict)

    @property
    def admits(self) -> bool:
        """Whether any call may be made now; half-open admits probes only."""
        if self.mode == Mode.AUTO:
            return self.state == State.CLOSED
        return self.mode != Mode.FORCED_OPEN

    @property
    def said(self) -> tuple[object, ...]:
        """Differs when the journal has something new to tell, failures apart."""
        return self.generation, self.mode, self.override_by, self.override_reason, tuple(self.tuning.items())

    @property
    def returning(self) -> bool:
        """Whether parked tasks are going back to their queues."""
        return bool(self.admits and self.draining and self.parked)

    @property
    def time_to_drain(self) -> float | None:
        """Seconds until the backlog is gone at the present rate of release; ``None`` if nothing is released."""
        return self.parked / self.release_rate if self.returning and self.parked and self.release_rate else None

    def as_dict(self) -> dict[str, object]:
        """As plain values, fit for JSON."""
        return {**asdict(self), "time_to_drain": self.time_to_drain}


def urgent_first(statuses: Iterable[Status]) -> list[Status]:
    """What refuses calls by itself, what is forced open, what else is overridden, what has parked tasks, the rest.

    Example:
        As ``celery breaker list`` has it::

            for status in urgent_first(current_desk().statuses()):
                print(status.name, status.state)
    """
    return sorted(statuses, key=_urgency)


def _urgency(status: Status) -> tuple[bool, bool, bool, str]:
    refuses, overridden = not status.admits, status.mode != Mode.AUTO
    return not refuses, overridden is refuses, not status.parked, status.name


def status_of(
    registry: Registry,
    names: Iterable[str],
    *,
    waiting: Mapping[str, Waiting] | None = None,
    totals: Callable[[Cell], Totals] | None = None,
) -> list[Status]:
    """The status of these breakers: one read, and one look at the window of each.

    Args:
        waiting: what is known of the parking queues.
        totals: what is known of the windows, if not every one is to be looked at.

    Raises:
        ConfigurationError: a name cannot be a breaker's.

    Example:
        Of breakers without an app; with one, ask its desk::

            [smtp] = status_of(registry, ["smtp"])
    """
    cells, now, looked = registry.refresh(names), registry.link.now(), registry.clock()
    for cell in cells:
        cell.used_at = looked
    return [_status(cell, now, (totals or registry.totals)(cell), (waiting or {}).get(cell.name)) for cell in cells]


def remembered(registry: Registry) -> list[Status]:
    """The breakers that this process follows, from its memory: no round trip.

    Their windows and parking queues are not known here: no calls are shown, and ``parked`` is ``None``.
    """
    now = registry.link.now()
    return [_status(cell, now, Totals(now=now), None) for cell in list(registry.cells.values())]


def _status(cell: Cell, now: float, window: Totals, parked: Waiting | None) -> Status:
    record, override = cell.record, cell.record.override
    expires = override.expires if override else None
    return Status(
        name=cell.name,
        state=str(record.state),
        mode=str(machine.mode_at(record, now)),
        generation=record.generation,
        since=max(0.0, now - record.since) if record.since else None,
        retry_after=machine.retry_after(record, now),
        time_since_fault=None if record.last_fault is None else max(0.0, now - record.last_fault),
        trips=record.trips,
        reason=record.reason,
        override_reason=override.reason if override else "",
        override_by=override.by if override else "",
        override_expires_in=None if expires is None else max(0.0, expires - now),
        calls=window.calls,
        failures=window.failures,
        slow=window.slow,
        workers=dict(window.workers),
        parked=None if parked is None else parked.size,
        draining=record.draining,
        release_rate=record.ramp,
        overdue=machine.overdue(record, now),
        tuning=dict(record.tuning),
        oldest_parked=None if parked is None or parked.since is None else max(0.0, now - parked.since),
    )
