"""Setting aside: makes of a task that is not to run now, or has failed, what the deferrer is to do with its message."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from celery.worker import state as worker_state

from celery_breaker.core.deferrals import back_off, may_defer
from celery_breaker.core.machine import Admission
from celery_breaker.engine.registry import Outcome, Registry
from celery_breaker.engine.view import Cell
from celery_breaker.plugin.gate.deferral import Refused
from celery_breaker.plugin.gate.turnstile import Gated
from celery_breaker.plugin.parking.note import Note

if TYPE_CHECKING:
    from kombu import Message

    from celery_breaker.plugin.aliases import AnyTask
    from celery_breaker.plugin.gate.deferral import Deferrer
    from celery_breaker.plugin.mainloop import MainLoop

__all__ = ["Aside"]

logger = logging.getLogger(__name__)


class Aside:
    """Hands the messages of one task to the deferrer. Never waits."""

    def __init__(self, task: AnyTask, *, registry: Registry, loop: MainLoop, deferrer: Deferrer) -> None:
        self._task = task
        self._registry = registry
        self._loop = loop
        self._deferrer = deferrer

    def may_defer(self, cell: Cell, message: Message) -> bool:
        """Whether the policy lets this message be deferred once more."""
        if cell.policy.max_deferrals is None and cell.policy.max_deferral_age is None:
            return True
        note = Note.of(message.headers)
        return may_defer(cell.policy, deferrals=note.deferrals, first=note.first, now=self._registry.link.now())

    def wait(self, cell: Cell, message: Message, *, asked: float | None) -> float | None:
        """Seconds for which a task stays parked if the breaker stays closed; ``None`` if it does not admit anyway."""
        if self._registry.admission(cell) not in (Admission.ADMIT, Admission.PLACE):
            return None
        deferrals = Note.of(message.headers).deferrals
        return back_off(cell.policy, deferrals=deferrals, asked=asked, u=self._registry.random())

    def message(self, message: Message, cell: Cell, *, origin: str, ack: Callable[..., object]) -> None:
        """Park a message of which no request was made."""
        self._deferrer.submit(
            Refused(
                task=self._task,
                message=message,
                origin=origin,
                action="park",
                cell=cell,
                connection=self._loop.connections,
                ack=partial(ack, logger, self._loop.connection_errors),
                gone=partial(self._loop.forget, message),
            )
        )

    def request(
        self,
        request: Gated,
        *,
        action: str,
        cell: Cell | None = None,
        error: Exception | None = None,
        wait: float | None = None,
    ) -> None:
        """Set a request aside that does not go to the pool; the attributes of `Refused` say how."""
        worker_state.task_ready(request)
        self._deferrer.submit(
            Refused(
                task=self._task,
                message=request.message,
                origin=None if action == "fail" else self._loop.origin(request.message),
                action=action,
                cell=cell,
                connection=self._loop.connections,
                error=error,
                wait=wait,
                ack=request.acknowledge,
                gone=partial(self._gone, request),
            )
        )

    def failure(self, request: Gated, outcome: Outcome) -> None:
        """Park a task that has failed. From whatever thread heard of it."""
        deferrable, cell = request.deferrable, outcome.ticket.cell
        assert deferrable is not None
        early = not self._task.acks_late
        if early:
            request.acknowledge()  # it is already, unless the news of its start was late
        worker_state.task_ready(request)
        self._deferrer.submit(
            Refused(
                task=self._task,
                message=request.message,
                origin=deferrable.origin,
                action="park",
                cell=cell,
                connection=deferrable.connection,
                acknowledged=early,
                wait=self.wait(cell, request.message, asked=outcome.asked),
                ack=request.acknowledge,
                gone=_nothing if early else partial(self._gone, request),
            )
        )

    def _gone(self, request: Gated) -> None:
        request.acknowledged = True
        self._loop.forget(request.message)


def _nothing() -> None:
    """What there is to do for a message that was acknowledged before."""
