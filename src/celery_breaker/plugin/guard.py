"""The guard of one task: finds its breakers and decides, in the worker's main process, who passes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from celery.exceptions import TaskRevokedError
from celery.worker import state as worker_state

from celery_breaker.core.deferrals import may_defer
from celery_breaker.core.machine import Admission
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Cell, Ticket
from celery_breaker.errors import ConfigurationError
from celery_breaker.plugin import signals
from celery_breaker.plugin.cells import TaskCells
from celery_breaker.plugin.deferral import Refused
from celery_breaker.plugin.inside import FALLBACK, TICKETS
from celery_breaker.plugin.note import Note
from celery_breaker.plugin.turnstile import Gated, SetAside, Turnstile

if TYPE_CHECKING:
    from kombu import Message

    from celery_breaker.plugin.aliases import AnyTask
    from celery_breaker.plugin.deferral import Deferrer
    from celery_breaker.plugin.mainloop import MainLoop
    from celery_breaker.plugin.pausing import Pausing
    from celery_breaker.plugin.policies import Policies

__all__ = ["Guard"]

logger = logging.getLogger(__name__)

_PARKED = ("park", "pause")
"""Answers for which a task in hand is parked; with "pause", what waits in the queue is left there."""


class Guard:
    """Gates the tasks of one type. Used by the worker's main loop: never waits, and raises nothing but revocations.

    Attributes:
        cell: the only breaker, if the task names exactly one and its name is fixed: all that a closed one looks at.
        judged_inside: outcomes are classified by user code, which runs in the pool and not in the main process.
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
        self._deferrer = deferrer
        self._pausing = pausing
        self._shared = shared
        self._turnstile = Turnstile(task, registry=registry, loop=loop, admit=self._admit, refuse=self._refuse)
        self._cells = TaskCells(templates, registry=registry, task=task)
        self.cell: Cell | None = self._cells.fixed[0] if len(self._cells.fixed) == 1 else None
        own = list(policies.declared.values()) if self._cells.dynamic else [policies.of(name) for name in templates]
        self.judged_inside = any(policy.classify is not None for policy in own)
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
            if not self._may_defer(cell, message):
                return False
            origin = self._loop.origin(message)
            if origin is None:
                return False
        except Exception:
            logger.debug("message %s is left to the request's gate", headers.get("id"), exc_info=True)
            return False
        self._deferrer.submit(
            Refused(
                task=self.task,
                message=message,
                origin=origin,
                action="park",
                cell=cell,
                connection=self._loop.connections,
                ack=partial(ack, logger, self._loop.connection_errors),
                gone=partial(self._loop.forget, message),
            )
        )
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
        granted = self._pausing.grants.take(request.message)
        tickets = [granted] if granted is not None else []
        if request.revoked():
            self._turnstile.give_back(tickets)
            raise TaskRevokedError(request.id)
        try:
            cells = list(self._cells.of(request.args, request.kwargs))
        except ConfigurationError as exc:
            self._turnstile.give_back(tickets)
            self._fail(request, exc)
            raise SetAside(request.id) from None
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
        if self.judged_inside and self._heard_from_inside(tickets):
            request.request_dict[TICKETS] = [[t.cell.name, t.generation, t.permit] for t in tickets]

    def _heard_from_inside(self, tickets: list[Ticket]) -> bool:
        """Whether what a pool process reports gets to this one: over the shared store, or because they are the same."""
        if not self._loop.forks:
            return True
        return self._shared and self.registry.link.connected and all(t.cell.policy.scope == "fleet" for t in tickets)

    # --- refusal ------------------------------------------------------------------------------------------------------

    def _refuse(self, request: Gated, cell: Cell) -> None:
        """Do what the policy says; returns only for a fallback, which goes to the pool as the task itself would.

        Raises:
            SetAside: in every other case.
        """
        on_open = cell.policy.on_open
        self._pausing.refused(cell)
        if not self._may_defer(cell, request.message):
            on_open = "fail"
        if callable(on_open):
            request.request_dict[FALLBACK] = [cell.name, self.registry.retry_after(cell)]
            request.tickets = ()
            self._tell_fallback(request, cell)
            return
        if on_open == "retry" and "task" not in request.message.headers:
            on_open = "park"  # protocol 1 keeps the ETA inside the body
        self._set_aside(request, cell=cell, action="park" if on_open in _PARKED else str(on_open))
        raise SetAside(request.id)

    def _tell_fallback(self, request: Gated, cell: Cell) -> None:
        self.registry.meters.deferred(cell.name, "fallback")
        if signals.task_deferred.receivers:
            signals.task_deferred.send(
                sender=self.task.app,
                name=cell.name,
                task_id=request.id,
                task_name=self.task.name,
                action="fallback",
                deferrals=Note.of(request.message.headers).deferrals,
            )

    def _fail(self, request: Gated, error: Exception) -> None:
        self._set_aside(request, action="fail", error=error)

    def _set_aside(
        self, request: Gated, *, action: str, cell: Cell | None = None, error: Exception | None = None
    ) -> None:
        worker_state.task_ready(request)
        self._deferrer.submit(
            Refused(
                task=self.task,
                message=request.message,
                origin=None if action == "fail" else self._loop.origin(request.message),
                action=action,
                cell=cell,
                connection=self._loop.connections,
                error=error,
                ack=request.acknowledge,
                gone=partial(self._gone, request),
            )
        )

    def _gone(self, request: Gated) -> None:
        request.acknowledged = True
        self._loop.forget(request.message)

    def _may_defer(self, cell: Cell, message: Message) -> bool:
        if cell.policy.max_deferrals is None and cell.policy.max_deferral_age is None:
            return True
        note = Note.of(message.headers)
        return may_defer(cell.policy, deferrals=note.deferrals, first=note.first, now=self.registry.link.now())
