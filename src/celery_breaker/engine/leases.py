"""What a process takes of the fleet's: half-open permits, places on the ramp, and places in the retry budget."""

from __future__ import annotations

import logging
import os

from celery_breaker.core import machine, ramp, tending
from celery_breaker.core.budget import allowance
from celery_breaker.core.record import State
from celery_breaker.engine.view import Cell, Ticket
from celery_breaker.engine.views import Views

__all__ = ["Leases", "permit_key"]

logger = logging.getLogger(__name__)


class Leases(Views):
    """Views, and the ways past a breaker that does not simply admit. Thread-safe.

    Whoever finds all places taken remembers for how long that is sure, so that thousands of tasks cost the store a few
    questions.
    """

    # --- memory only --------------------------------------------------------------------------------------------

    def full(self, cell: Cell) -> bool:
        """Whether all permits, or places, are known to be taken; no reason to refuse what was sent to get one."""
        return self.clock() < cell.full_until

    def take_place(self, cell: Cell) -> bool:
        """Take one of the places on the ramp that this process has, from memory."""
        return cell.places.take(self.clock())

    def budget_spent(self, cell: Cell) -> float:
        """Seconds for which the retry budget is known to be spent; 0 if it may not be. From memory."""
        return max(0.0, cell.spent_until - self.clock())

    # --- round trips: see `Views` -------------------------------------------------------------------------------

    def enter(self, cell: Cell, *, ttl: float | None = None) -> Ticket | None:
        """A ticket by whatever way the breaker allows now, winning a permit if that is what it takes."""
        if not cell.known:
            self.refresh([cell.name])
        if cell.policy.health_check is None and machine.due(cell.record, self.link.now()):
            self.refresh([cell.name])
            self.change(cell, lambda record, now: machine.half_opened(record, now=now))
        said = self.admission(cell)
        if said is machine.Admission.ADMIT:
            return cell.ticket
        if said is machine.Admission.PLACE:
            return cell.ticket if self.take_place(cell) or self._lease_places(cell) else None
        return self.win_permit(cell, ttl=ttl) if said is machine.Admission.PERMIT else None

    def win_permit(self, cell: Cell, *, ttl: float | None = None) -> Ticket | None:
        """Lease one of the permits of this half-open generation; a ticket that carries it, or ``None``.

        A permit is given back after its outcome has moved the record, so one that is won by a view which has not heard
        of that yet may be of a generation that is over: only a look at the record after the lease tells.
        """
        if cell.record.state is not State.HALF_OPEN:
            return None  # its interval ended a moment ago: no permit before somebody has half-opened it
        if (ticket := self._lease_permit(cell, ttl=ttl or cell.policy.probe_lease)) is None:
            return None
        self.refresh([cell.name])
        if cell.record.generation == ticket.generation:
            self.meters.permitted(cell.name)
            return ticket
        self.give_back(ticket)
        return cell.ticket if self.admission(cell) is machine.Admission.ADMIT else None

    def permit_free(self, cell: Cell) -> bool:
        """Whether a permit of this half-open generation could be had now; takes one for a moment to find out."""
        if (ticket := self._lease_permit(cell, ttl=1.0)) is None:
            return False
        self.give_back(ticket)
        return True

    def _lease_permit(self, cell: Cell, *, ttl: float) -> Ticket | None:
        """One of the permits of the generation that this view shows, whether that still lasts or not."""
        generation, holder, limit = cell.record.generation, self._new_holder(), cell.policy.half_open_calls
        key = permit_key(cell.name, generation)
        lease, epoch = self._ask(cell, lambda store: store.lease(key, holder, limit=limit, ttl=ttl))
        if lease:
            return Ticket(cell, generation=generation, epoch=epoch, permit=holder)
        if cell.ticket.generation == generation:
            cell.full_until = self.clock() + min(lease.free_in, tending.ASK_AGAIN)
        return None

    def give_back(self, ticket: Ticket) -> None:
        """End the lease of a permit, if the ticket has one."""
        if ticket.permit is not None:
            key, holder = permit_key(ticket.cell.name, ticket.generation), ticket.permit
            self._store_of(ticket.cell, lambda store: store.release(key, holder))
            if ticket.cell.ticket.generation == ticket.generation:
                ticket.cell.full_until = float("-inf")

    def _lease_places(self, cell: Cell) -> bool:
        """Take a share of the fleet's places on the ramp, and one of these; a round trip."""
        if self.full(cell):
            return False
        share = ramp.fresh(cell.record, cell.policy, now=self.link.now())
        key, holder = _ramp_key(cell.name), self._new_holder()
        until = self.clock() + share.seconds
        lease = self._store_of(cell, lambda store: store.lease(key, holder, limit=share.limit, ttl=share.seconds))
        if lease:
            cell.places.add(share.size, until=until)
            return self.take_place(cell)
        cell.full_until = self.clock() + lease.free_in
        return False

    def retry_wait(self, cell: Cell) -> float | None:
        """``None`` if one more retry is within the breaker's budget, and takes its place in it; else the seconds until
        another may be. Two round trips, or none while the budget is known to be spent.
        """
        if (left := self.budget_spent(cell)) > 0:
            return left
        try:
            allowed = allowance(self.totals(cell), cell.policy)
            key, holder = _retry_key(cell.name), self._new_holder()
            lease = self._store_of(cell, lambda store: store.lease(key, holder, limit=allowed.limit, ttl=allowed.ttl))
        except Exception:
            logger.exception("breaker %r: asking its retry budget failed", cell.name, extra={"breaker": cell.name})
            return None
        if lease:
            return None
        cell.spent_until = self.clock() + min(lease.free_in, tending.ASK_AGAIN)
        return lease.free_in

    def _new_holder(self) -> str:
        """A name under which nobody holds a place in a lease yet."""
        return f"{self.worker}:{os.urandom(8).hex()}"


def permit_key(name: str, generation: int) -> str:
    """The lease under which a generation's permits are held."""
    return f"{name}:{generation}:permit"


def _ramp_key(name: str) -> str:
    """The lease under which fresh calls hold their places on the ramp."""
    return f"{name}:ramp"


def _retry_key(name: str) -> str:
    """The lease under which a breaker's retries hold their places."""
    return f"{name}:retries"
