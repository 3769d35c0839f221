"""A breaker as one process sees it: all that an admission reads, and it reads nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from celery_breaker.core.machine import Admission, admission, on_ramp
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Record, State
from celery_breaker.engine.places import Places

__all__ = ["Cell", "Ticket"]


class Ticket:
    """An admission: what a call carries from the gate to its outcome.

    Calls of one generation share a ticket, which counts their successes: ``next(ticket.counter)`` is atomic in
    CPython, so the path of a success takes no lock and allocates nothing. A call with a permit has a ticket of its own.
    """

    __slots__ = ("_taken", "cell", "counter", "epoch", "generation", "permit")

    cell: Cell
    counter: Iterator[int]
    epoch: int
    generation: int
    permit: str | None

    def __init__(self, cell: Cell, *, generation: int, epoch: int, permit: str | None = None) -> None:
        self.cell = cell
        self.generation = generation
        self.epoch = epoch
        self.permit = permit
        self.counter = itertools.count()
        self._taken = 0

    def take_successes(self) -> int:
        """Successes since the last call; for the reporter alone."""
        successes = next(self.counter) - self._taken
        self._taken += successes + 1
        return successes


class Cell:
    """One breaker in this process's memory.

    Attributes:
        passing: calls are admitted without another look; all that the path of a closed breaker reads.
        ticket: the ticket of the present generation.
        known: the record has been read from the store at least once.
        own: the policy that the code gives; ``policy`` is that with what an operator has set.
        exact: outcomes must reach the reporter one by one and in order.
        direct: a call that is admitted needs no look at what else its policy has for it.
        plain: a success without a permit needs no look at its result or its time, and may be counted with others.
        full_until: process clock until which the permits of this generation are taken, or the places on the ramp, as
            far as is known.
        spent_until: process clock until which the retry budget is spent, as far as is known.
        places: those on the ramp that this process has taken.
        applied_at: process clock at which the record was last set; before all time if it never was.
        used_at: process clock at which the reporter last saw an outcome, or somebody asked for the status.
        pinned: never dropped, however long it is idle.
        shared: the record as the fleet's store last had it; ``None`` if this process never saw it there.
    """

    __slots__ = (
        "applied_at",
        "direct",
        "exact",
        "full_until",
        "known",
        "name",
        "own",
        "passing",
        "pinned",
        "places",
        "plain",
        "policy",
        "record",
        "shared",
        "spent_until",
        "ticket",
        "used_at",
    )

    applied_at: float
    direct: bool
    exact: bool
    full_until: float
    known: bool
    name: str
    own: Policy
    passing: bool
    pinned: bool
    places: Places
    plain: bool
    policy: Policy
    record: Record
    shared: Record | None
    spent_until: float
    ticket: Ticket
    used_at: float

    def __init__(self, name: str, policy: Policy, *, at: float) -> None:
        self.name = name
        self.places = Places()
        self.own = policy
        self.follow(policy)
        self.known = self.pinned = False
        self.applied_at, self.used_at = float("-inf"), at
        self.full_until = self.spent_until = float("-inf")
        self.record = Record(name=name)
        self.shared = None
        self.ticket = Ticket(self, generation=0, epoch=0)
        self.passing = True

    def follow(self, policy: Policy) -> None:
        """Go by this policy from the next outcome on."""
        self.policy = policy
        self.exact = policy.consecutive_failures is not None
        self.direct = policy.classify is None and not policy.defer_failures and policy.retry_budget is None
        self.plain = policy.classify is None and policy.slow_call_duration is None and not self.exact

    def apply(self, record: Record, *, epoch: int, at: float) -> None:
        """See this record from now on; a reader in another thread never sees a mix of old and new that admits."""
        before = self.ticket
        if before.generation != record.generation or before.epoch != epoch:
            ticket = Ticket(self, generation=record.generation, epoch=epoch)
            self.full_until = float("-inf")
        else:
            ticket = before
        mode = record.mode
        lasting = record.override is None or record.override.expires is None
        self.passing = False
        self.record = record
        self.ticket = ticket
        self.known = True
        self.applied_at = at
        if mode is Mode.AUTO:
            self.passing = record.state is State.CLOSED and not on_ramp(record, self.policy)
        else:
            self.passing = lasting and mode is not Mode.FORCED_OPEN

    def admission(self, now: float) -> Admission:
        """What the breaker says at ``now``, by the store's clock."""
        return admission(self.record, self.policy, now)
