"""The turnstile: requests that need a permit are held here, off the main loop's path, until it is won or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from celery.exceptions import TaskRevokedError

from celery_breaker.core.machine import Admission
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Cell, Ticket
from celery_breaker.plugin.aliases import AnyTask
from celery_breaker.plugin.gate.failures import Deferrable
from celery_breaker.plugin.parking.note import Note

if TYPE_CHECKING:
    from kombu import Message

    from celery_breaker.core.policy import Policy
    from celery_breaker.plugin.mainloop import MainLoop

__all__ = ["Gated", "SetAside", "Turnstile", "permit_lease"]

_AFTER_HARD_LIMIT = 5.0
"""Seconds that a permit outlasts the task's hard time limit, for the news of it to arrive."""


_ON_RAMP = 100
"""Requests of one breaker that may wait for places on the ramp, which come several at a time."""


class Gated(Protocol):
    """What the guard needs of a request: some of `celery.worker.request.Request`, and the tickets."""

    id: str
    acknowledged: bool
    tickets: tuple[Ticket, ...] | None
    deferrable: Deferrable | None
    time_limits: tuple[float | None, float | None]

    @property
    def args(self) -> Sequence[object]: ...

    @property
    def kwargs(self) -> Mapping[str, object]: ...

    @property
    def message(self) -> Message: ...

    @property
    def request_dict(self) -> dict[str, object]: ...

    def revoked(self) -> bool: ...

    def acknowledge(self) -> None: ...


class SetAside(TaskRevokedError):
    """Makes the worker give the slot back and go on."""


class Turnstile:
    """Holds requests of one task while the reporter asks for what they need. Used on the main loop, or where it
    has no events, by whichever thread hears the answer.

    A held request stays unacknowledged and takes no slot. More than a few would wait for nothing: these are refused.

    Args:
        admit: called with (request, tickets) when all has been won, before the request goes to the pool.
        refuse: called with (request, breaker) otherwise; raises `SetAside` unless the request is to go to the pool.
    """

    def __init__(
        self,
        task: AnyTask,
        *,
        registry: Registry,
        loop: MainLoop,
        admit: Callable[[Gated, list[Ticket]], None],
        refuse: Callable[[Gated, Cell], None],
    ) -> None:
        self._task = task
        self._registry = registry
        self._loop = loop
        self._admit = admit
        self._refuse = refuse
        self._held: list[str] = []  # breakers of the requests held; without an event loop, other threads use it too

    def ask(self, request: Gated, cells: list[Cell], tickets: list[Ticket]) -> None:
        """Hold the request until the reporter has asked these breakers in turn; ``tickets`` it has already."""
        cell, rest = cells[0], cells[1:]
        connection = self._loop.connections
        if cell.known and self._in_vain(request, cell):
            self.give_back(tickets)
            self._loop.soon(partial(self._refused, request, cell))
            return
        self._held.append(cell.name)

        def answered(ticket: Ticket | None) -> None:
            self._loop.soon(partial(self._answered, request, cell, rest, tickets, ticket, connection))

        self._registry.ask(cell, answered, ttl=self._permit_ttl(cell, request))

    def ask_budget(self, cell: Cell, then: Callable[[float | None], None]) -> None:
        """Hold a request, a retry, until the reporter has asked this breaker's budget; then call ``then`` on the main
        loop with the seconds until it may be asked again, or ``None`` if it may run. Not if its connection is lost.
        """
        connection = self._loop.connections

        def answered(wait: float | None) -> None:
            self._loop.soon(lambda: then(wait) if connection == self._loop.connections else None)

        self._registry.ask_retry(cell, answered)

    def _in_vain(self, request: Gated, cell: Cell) -> bool:
        """Whether there is no permit to be hoped for; what was parked may have been released to get just that one."""
        if self._registry.admission(cell) is Admission.PLACE:
            return self._registry.full(cell) or self._held.count(cell.name) >= _ON_RAMP
        if self._held.count(cell.name) >= 2 * cell.policy.half_open_calls:
            return True
        return self._registry.full(cell) and not Note.of(request.message.headers).deferrals

    def _answered(
        self,
        request: Gated,
        cell: Cell,
        rest: list[Cell],
        tickets: list[Ticket],
        ticket: Ticket | None,
        connection: int,
    ) -> None:
        """On the main loop: run the held request, ask the next breaker, or let it be refused."""
        self._held.remove(cell.name)
        won = [*tickets, ticket] if ticket is not None else tickets
        if connection != self._loop.connections:
            self.give_back(won)  # the broker gives this message out again
        elif ticket is None:
            self.give_back(won)
            self._refused(request, cell)
        elif rest:
            self.ask(request, rest, won)
        else:
            self._admit(request, won)
            self._loop.run(request)

    def _refused(self, request: Gated, cell: Cell) -> None:
        try:
            self._refuse(request, cell)
        except SetAside:
            return
        self._loop.run(request)  # a fallback runs in the pool

    def give_back(self, tickets: list[Ticket]) -> None:
        """Free the permits that are among these."""
        for ticket in tickets:
            self._registry.unused(ticket)

    def _permit_ttl(self, cell: Cell, request: Gated) -> float:
        return permit_lease(cell.policy, request.time_limits[0] or self._task.time_limit)


def permit_lease(policy: Policy, hard: float | None) -> float:
    """Seconds that a permit is leased to a task with this hard time limit."""
    return policy.probe_timeout or (hard + _AFTER_HARD_LIMIT if hard else policy.probe_lease)
