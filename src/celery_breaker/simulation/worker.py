"""One simulated worker: what its main process has in memory."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from celery_breaker.core.record import Mode, Record, State
from celery_breaker.core.windows import Delta

__all__ = ["NOTHING", "Admitted", "Outcome", "Task", "Worker"]

NOTHING = Delta()


class Task:
    """A task on its way.

    Attributes:
        retries: tries that failed so far.
        deferrals: times it was set aside, first at second ``first``.
    """

    __slots__ = ("deferrals", "first", "retries")

    def __init__(self) -> None:
        self.retries = 0
        self.deferrals = 0
        self.first: float | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """A ticket: the generation it was given in, and the permit's number if it took one."""

    generation: int
    permit: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an admitted call ended."""

    ticket: Admitted
    failed: bool
    slow: bool = False


class Worker:
    """State of one worker; what it does is in `views`, `reporter`, `agent` and `pool`.

    Attributes:
        phase: second of its first periodic read.
        view: the record as it last saw it. passing: calls are admitted without another look.
        ticket: the ticket of calls that need no permit.
        reading: a periodic read that may find news is on the timeline.
        free: slots. parking: its main loop is busy setting a message aside. place: index among the ready workers.
        full_until: second until which the permits of this generation are taken, as far as it knows.
        waiting: admitted tasks that wait for a slot of this worker.
        outcomes, asks: handed to the reporter. reporting: its round is under way. held: requests that wait for answers.
        successes: plain successes of this generation that the reporter has yet to send; ``delta``: other outcomes.
        pending_since: second of the first of them. stale: some of an older generation are still to be sent.
        flushing: the round that sends them is on the timeline. flushed: number of the round that sent the last.
        tried: when its agent last tried for the lease in vain; ``None`` if it does not try.
        parked: second at which it last parked a task. late: it knows of some that nobody may look for any more.
    """

    __slots__ = (
        "asks",
        "delta",
        "flushed",
        "flushing",
        "free",
        "full_until",
        "held",
        "late",
        "number",
        "outcomes",
        "parked",
        "parking",
        "passing",
        "pending_since",
        "phase",
        "place",
        "reading",
        "reporting",
        "stale",
        "successes",
        "ticket",
        "tried",
        "view",
        "waiting",
    )

    def __init__(self, number: int, *, phase: float, slots: int, record: Record, flushed: int) -> None:
        self.number = number
        self.phase = phase
        self.free = slots
        self.flushed = flushed
        self.parking = self.reading = self.reporting = self.flushing = self.stale = self.late = False
        self.place = -1
        self.held = self.successes = 0
        self.pending_since = 0.0
        self.parked = self.full_until = -math.inf
        self.delta = NOTHING
        self.tried: float | None = None
        self.waiting: deque[tuple[Task, Admitted]] = deque()
        self.outcomes: deque[Outcome] = deque()
        self.asks: deque[Callable[[Admitted | None], None]] = deque()
        self.see(record)

    def see(self, record: Record) -> None:
        """Go by this record from now on."""
        self.view = record
        self.ticket = Admitted(record.generation)
        mode = record.mode
        self.passing = record.state is State.CLOSED if mode is Mode.AUTO else mode is not Mode.FORCED_OPEN
