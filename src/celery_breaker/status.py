"""The one read model: what is known of each breaker, for the command line and whatever else shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from celery_breaker.core import machine
from celery_breaker.engine.registry import Registry

__all__ = ["Status", "status_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One breaker, at one moment. Durations are in seconds.

    Attributes:
        since: how long the state has lasted; ``None`` if it was never left.
        retry_after: until a call may be admitted; 0 if one may now, ``None`` if forced open without an end.
        time_since_fault: since the failure that last opened it.
        calls, failures, slow: in the present window, of all workers.
        parked: tasks in the parking queue; ``None`` if the broker could not be asked.
        draining: parked tasks are on their way back.
        release_rate: releases per second that the agent allows itself at present.
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

    def as_dict(self) -> dict[str, object]:
        """As plain values, fit for JSON."""
        return asdict(self)


def status_of(
    registry: Registry, names: Iterable[str], *, parked: Callable[[str], int | None] = lambda _name: None
) -> list[Status]:
    """The status of these breakers: one read, and one look at the window of each.

    Raises:
        ConfigurationError: a name cannot be a breaker's.
    """
    wanted = list(names)
    registry.refresh(wanted)
    now = registry.link.now()
    found = []
    for name in wanted:
        cell = registry.cell(name)
        record, totals, override = cell.record, registry.totals(cell), cell.record.override
        expires = override.expires if override else None
        found.append(
            Status(
                name=name,
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
                calls=totals.calls,
                failures=totals.failures,
                slow=totals.slow,
                workers=dict(totals.workers),
                parked=parked(name),
                draining=record.draining,
                release_rate=record.ramp,
            )
        )
    return found
