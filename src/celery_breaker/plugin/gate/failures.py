"""What a task carries whose failure may set it aside, and what its pool process raises in the failure's place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from celery.exceptions import Ignore

from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.registry import Outcome
from celery_breaker.engine.view import Ticket
from celery_breaker.plugin.gate.outcomes import Ended, outcome_in_main

__all__ = ["Deferrable", "FailureDeferred", "first_failed", "outcomes_of"]


@dataclass(frozen=True, slots=True)
class Deferrable:
    """What must be known of a task before it runs, so that it can be set aside if it fails.

    Attributes:
        names: breakers whose failures set it aside.
        origin: the queue it came from.
        connection: over which of this worker's connections it came; see `MainLoop.connections`.
    """

    names: tuple[str, ...]
    origin: str
    connection: int


class FailureDeferred(Ignore):
    """A task failed and is set aside. Of all exceptions, Celery records nothing for an ``Ignore``: no result, no
    errback, no chord error. Survives pickling.

    Args:
        chosen: which of the task's tickets is of the breaker that parks it.
        judged: what the failure says to the breaker of each ticket: verdict, slow, reason, seconds asked for, failed.
    """

    def __init__(self, chosen: int, judged: Sequence[tuple[str, bool, str, float | None, bool]]) -> None:
        super().__init__(chosen, judged)
        self.chosen = chosen
        self.judged = judged

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], chosen: int) -> FailureDeferred:
        """What tells the main process these outcomes."""
        return cls(chosen, [(str(o.verdict.value), o.slow, o.reason, o.asked, o.failed) for o in outcomes])

    def __str__(self) -> str:
        return f"failed, and is set aside: {self.judged[self.chosen][2]}"

    def outcomes(self, tickets: Sequence[Ticket]) -> list[Outcome]:
        """The outcomes, of these tickets; they are those that the task was given, in the same order."""
        return [
            Outcome(ticket, Verdict(verdict), slow=slow, reason=reason, asked=asked, failed=failed)
            for ticket, (verdict, slow, reason, asked, failed) in zip(tickets, self.judged, strict=True)
        ]


def first_failed(outcomes: Sequence[Outcome], names: Sequence[str]) -> int | None:
    """The place of the first call that failed, rather than being slow, by a breaker of these names."""
    for place, outcome in enumerate(outcomes):
        if outcome.failed and outcome.ticket.cell.name in names:
            return place
    return None


def outcomes_of(tickets: Sequence[Ticket], ended: Ended, *, charge: Any) -> list[Outcome]:
    """What is left to report of a task's end, and how it failed if that has set it aside.

    Args:
        charge: what the pool was to do; see `inside.charge_of`.
    """
    if isinstance(ended.exception, FailureDeferred):
        return ended.exception.outcomes(tickets)
    seen = replace(ended, inside=bool(charge and charge["reports"]))
    return [outcome for ticket in tickets if (outcome := outcome_in_main(ticket, seen)) is not None]
