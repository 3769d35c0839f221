"""The guard of one task: finds its breakers and decides, in the worker's main process, who passes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from celery.exceptions import TaskRevokedError
from celery.worker import state as worker_state

from celery_breaker.core.deferrals import recovered
from celery_breaker.core.machine import Admission, mode_at
from celery_breaker.core.record import Mode
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Cell, Ticket
from celery_breaker.errors import ConfigurationError, RetryBudgetSpent
from celery_breaker.plugin.declared.cells import TaskCells
from celery_breaker.plugin.gate.aside import Aside
from celery_breaker.plugin.gate.failures import Deferrable
from celery_breaker.plugin.gate.inside import FALLBACK, TICKETS, charge_of
from celery_breaker.plugin.gate.telling import tell_deferred
from celery_breaker.plugin.gate.turnstile import Gated, SetAside, Turnstile
from celery_breaker.plugin.parking.note import Note

if TYPE_CHECKING:
    from kombu import Message

    from celery_breaker.plugin.aliases import AnyTask
    from celery_breaker.plugin.declared.policies import Policies
    from celery_breaker.plugin.gate.deferral import Deferrer
    from celery_breaker.plugin.mainloop import MainLoop
    from celery_breaker.plugin.pausing.pausing import Pausing

__all__ = ["Guard"]

logger = logging.getLogger(__name__)

_PARKED = ("park", "pause")
"""Answers for which a task in hand is parked; with "pause", what waits in the queue is left there."""


class Guard:
    """Gates the tasks of one type. Used by the worker's main loop: never waits, and raises nothing but revocations.

    Attributes:
        aside: where what does not run goes.
        cell: the only breaker, if the task names exactly one and its name is fixed: all that a closed one looks at.
        judged_inside: outcomes are classified by user code, which runs in the pool and not in the main process.
        defers: failures set their own tasks aside, which the pool process must know before Celery records them.
    """

    def __init__(
        self,
        task: AnyTask,
        *,
        registry: Registry,
        policies: Policies,
        loop: MainLoop,
        deferrer: Deferrer,
        pausing: Pausing,
        shared: bool,
    ) -> None:
        templates = policies.guarded[task.name]
        self.task = task
        self.registry = registry
        self._loop = loop
        self.aside = Aside(task, registry=registry, loop=loop, deferrer=deferrer)
        self._pausing = pausing
        self._shared = shared
        self._turnstile = Turnstile(task, registry=registry, loop=loop, admit=self._admit, refuse=self._refuse)
        self._cells = TaskCells(templates, registry=registry, task=task)
        self.cell: Cell | None = self._cells.fixed[0] if len(self._cells.fixed) == 1 else None
        own = list(policies.declared.values()) if self._cells.dynamic else [policies.of(name) for name in templates]
        self.judged_inside = any(policy.classify is not None for policy in own)
        self.defers = any(policy.defer_failures for policy in own)
        self.has_fallback = any(callable(policy.on_open) for policy in own)

    # --- as a message arrives ---------------------------------------------------------------------------------------

    def park_at_once(self, message: Message, ack: Callable[..., object]) -> bool:
        """Park a message before a request is built, if it is plain that it cannot run; whether it was taken over.

        ETA, expiring and revoked tasks go on, to be gated (or discarded) when they would run.
        """
        headers = message.headers
        try:
            if "task" not in headers or headers.get("eta") or headers.get("expires") or headers.get("stamped_headers"):
                return False
            if headers["id"] in worker_state.revoked:
                return False
            cell = self._refusing(message)
            if cell is None or cell.policy.on_open not in _PARKED:
                return False
            self._pausing.refused(cell)
            if not self.aside.may_defer(cell, message):
                return False
            origin = self._loop.origin(message)
            if origin is None:
                return False
        except Exception:
            logger.debug("message %s is left to the request's gate", headers.get("id"), exc_info=True)
            return False
        self.aside.message(message, cell, origin=origin, ack=ack)
        self._pausing.grants.drop(message)
        return True

    def _refusing(self, message: Message) -> Cell | None:
        """The first breaker that refuses out of hand."""
        args, kwargs = message.payload[:2] if self._cells.dynamic else ((), {})
        return self._cells.refusing(args, kwargs)

    # --- as a request goes to the pool --------------------------------------------------------------------------------

    def gate(self, request: Gated) -> None:
        """Admit the request, or set it aside.

        Raises:
            SetAside: it does not go to the pool now.
            TaskRevokedError: it was revoked or has expired.
        """
        if request.revoked():
            self._pausing.grants.drop(request.message)
            raise TaskRevokedError(request.id)
        try:
            cells = list(self._cells.of(request.args, request.kwargs))
        except ConfigurationError as exc:
            self._pausing.grants.drop(request.message)
            self.aside.request(request, action="fail", error=exc)
            raise SetAside(request.id) from None
        if retries := request.request_dict.get("retries"):
            note = Note.of(request.message.headers)
            again = note if note.deferrals and note.retries == retries else None
            self._ask_budget(request, cells, [cell for cell in cells if self._budgets(cell, again)])
        else:
            self._pass(request, cells)

    def _pass(self, request: Gated, cells: list[Cell]) -> None:
        granted = self._pausing.grants.take(request.message)
        tickets = [granted] if granted is not None else []
        asking: list[Cell] = []
        for cell in cells:
            if granted is not None and granted.cell is cell:
                continue
            ticket = cell.ticket
            if cell.passing and cell.known:
                tickets.append(ticket)
                continue
            said = self.registry.admission(cell) if cell.known else Admission.PERMIT
            if said is Admission.REFUSE:
                self._turnstile.give_back(tickets)
                self._refuse(request, cell)
                return
            if said is Admission.ADMIT or (said is Admission.PLACE and self._on_ramp(request, cell)):
                tickets.append(cell.ticket)
            else:
                asking.append(cell)
        if asking:
            self._turnstile.ask(request, asking, tickets)
            raise SetAside(request.id)
        self._admit(request, tickets)

    def _on_ramp(self, request: Gated, cell: Cell) -> bool:
        """Whether the request has a place on the ramp: its release gave it one, or this process has one left."""
        note = Note.of(request.message.headers)
        released = note.deferrals and note.breaker == cell.name and cell.policy.on_open != "retry"
        return bool(released) or self.registry.take_place(cell)

    def _admit(self, request: Gated, tickets: list[Ticket]) -> None:
        request.tickets = tuple(tickets)
        if not (self.judged_inside or self.defers):
            return
        request.deferrable = self._deferrable(request, tickets) if self.defers else None
        defers = request.deferrable.names if request.deferrable is not None else ()
        reports = self.judged_inside and self._heard_from_inside(tickets)
        if reports or defers:
            request.request_dict[TICKETS] = charge_of(tickets, reports=reports, defers=defers)
        else:
            request.request_dict.pop(TICKETS, None)  # a retry that Celery sends itself carries that of the run before

    def _deferrable(self, request: Gated, tickets: list[Ticket]) -> Deferrable | None:
        """What it takes to set the request aside if it fails; ``None`` if it may not, or cannot, be."""
        cells = [ticket.cell for ticket in tickets]
        names = [c.name for c in cells if c.policy.defer_failures and self.aside.may_defer(c, request.message)]
        origin = self._origin(request) if names else None
        return None if origin is None else Deferrable(tuple(names), origin, self._loop.connections)

    def _origin(self, request: Gated) -> str | None:
        try:
            return self._loop.origin(request.message)
        except Exception:
            logger.debug("nobody can say from which queue task %s came", request.id, exc_info=True)
            return None

    def _heard_from_inside(self, tickets: list[Ticket]) -> bool:
        """Whether what a pool process reports gets to this one: over the shared store, or because they are the same."""
        if not self._loop.forks:
            return True
        return self._shared and self.registry.link.connected and all(t.cell.policy.scope == "fleet" for t in tickets)

    # --- retries ------------------------------------------------------------------------------------------------------

    def _budgets(self, cell: Cell, again: Note | None) -> bool:
        """Whether this breaker's budget has a word on a retry, or on one that comes back from the parking queue.

        Not while the breaker refuses, or admits by permit, or an operator decides. What comes back because it has
        recovered is on the ramp, which would never come to an end if it had to wait for fresh calls.
        """
        if cell.policy.retry_budget is None or mode_at(cell.record, self.registry.link.now()) is not Mode.AUTO:
            return False
        if self.registry.admission(cell) not in (Admission.ADMIT, Admission.PLACE):
            return False
        released = again is not None and again.breaker == cell.name
        return not (released and again and recovered(due=again.due, since=again.since, closed_at=cell.record.since))

    def _ask_budget(self, request: Gated, cells: list[Cell], limited: list[Cell]) -> None:
        """Let a retry go on to the gate if each of these breakers has budget for it, else set it aside.

        Raises:
            SetAside: it is not known yet, or the retry is set aside.
        """
        if not limited:
            self._pass(request, cells)
            return
        cell, rest = limited[0], limited[1:]

        def answered(wait: float | None) -> None:
            try:
                if wait is not None:
                    self._over_budget(request, cells, cell, wait)
                else:
                    self._ask_budget(request, cells, rest)
            except SetAside:
                return
            self._loop.run(request)

        if (wait := self.registry.budget_spent(cell)) > 0:
            self._over_budget(request, cells, cell, wait)
        else:
            self._turnstile.ask_budget(cell, answered)
            raise SetAside(request.id)

    def _over_budget(self, request: Gated, cells: list[Cell], cell: Cell, wait: float) -> None:
        """Park a retry until there may be budget again; it runs if it could not be put back.

        Raises:
            SetAside: in every other case.
        """
        if self._origin(request) is None:
            self._pass(request, cells)
            return
        self._pausing.grants.drop(request.message)
        if self.aside.may_defer(cell, request.message):
            left = self.aside.wait(cell, request.message, asked=wait)
            self.aside.request(request, cell=cell, action="park", wait=left)
        else:
            self.aside.request(request, cell=cell, action="fail", error=RetryBudgetSpent(cell.name, wait))
        raise SetAside(request.id)

    # --- refusal ------------------------------------------------------------------------------------------------------

    def _refuse(self, request: Gated, cell: Cell) -> None:
        """Do what the policy says; returns only for a fallback, which goes to the pool as the task itself would.

        Raises:
            SetAside: in every other case.
        """
        on_open = cell.policy.on_open
        self._pausing.refused(cell)
        if not self.aside.may_defer(cell, request.message):
            on_open = "fail"
        if callable(on_open):
            request.request_dict[FALLBACK] = [cell.name, self.registry.retry_after(cell)]
            request.tickets = ()
            self._tell_fallback(request, cell)
            return
        if on_open == "retry" and "task" not in request.message.headers:
            on_open = "park"  # protocol 1 keeps the ETA inside the body
        self.aside.request(request, cell=cell, action="park" if on_open in _PARKED else str(on_open))
        raise SetAside(request.id)

    def _tell_fallback(self, request: Gated, cell: Cell) -> None:
        tell_deferred(
            self.task.app,
            self.registry,
            cell.name,
            task_id=request.id,
            task_name=self.task.name,
            action="fallback",
            deferrals=Note.of(request.message.headers).deferrals,
        )
