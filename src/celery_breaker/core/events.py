"""Transitions as values: what changed between two records, for signals, logs and the bus."""

from __future__ import annotations

from dataclasses import dataclass

from celery_breaker.core.record import Mode, Record, State, Tuning

__all__ = ["Change", "change_between"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step of a breaker's life, as its winner saw it.

    Attributes:
        at: seconds of the store's clock.
        until: when the next probe is due, if the breaker is open now.
        trips: open intervals in a row; above 1 the service failed its probe.
        stepped: the generation grew; else all that changed is an operator's word, perhaps only its reason or its end.
        tuning: all options that an operator has set now, if that is what changed; ``None`` if it is not.
        tuning_before: those that were set before.

    Example:
        As a receiver of a signal gets it::

            @breaker_opened.connect
            def opened(sender, name, change, **_):
                print(f"{name} is down: {change.reason}")
    """

    name: str
    before: State
    after: State
    mode_before: Mode
    mode_after: Mode
    generation: int
    version: int
    at: float
    until: float
    trips: int
    reason: str
    by: str = ""
    stepped: bool = True
    tuning: Tuning | None = None
    tuning_before: Tuning = ()

    @property
    def state_before(self) -> State:
        """The state in force before: what an operator forces open is open."""
        return State.OPEN if self.mode_before is Mode.FORCED_OPEN else self.before

    @property
    def state_after(self) -> State:
        """The state in force now."""
        return State.OPEN if self.mode_after is Mode.FORCED_OPEN else self.after

    @property
    def moved(self) -> bool:
        """The state changed."""
        return self.before is not self.after

    @property
    def overridden(self) -> bool:
        """An operator's override came, went or changed."""
        return self.mode_before is not self.mode_after


def change_between(before: Record, after: Record, *, at: float) -> Change | None:
    """What changed, or ``None`` when nothing did that anyone need be told."""
    spoken = before.override != after.override or before.tuning != after.tuning
    if before.generation == after.generation and not spoken:
        return None
    return Change(
        name=after.name,
        before=before.state,
        after=after.state,
        mode_before=before.mode,
        mode_after=after.mode,
        generation=after.generation,
        version=after.version,
        at=at,
        until=after.until,
        trips=after.trips,
        reason=_reason(before, after),
        stepped=before.generation != after.generation,
        tuning=after.tuning if before.tuning != after.tuning else None,
        tuning_before=before.tuning,
        by=after.override.by if after.override and after.override != before.override else "",
    )


def _reason(before: Record, after: Record) -> str:
    """Why: the operator's word if it is the news, else what moved the state."""
    if before.override != after.override and before.generation == after.generation:
        return after.override.reason if after.override else ""
    if before.tuning != after.tuning:
        return ""
    return after.reason
