"""Pausing: while a breaker with ``on_open="pause"`` refuses, this worker does not consume the queues of its tasks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from celery_breaker.core.machine import Admission
from celery_breaker.core.record import Record
from celery_breaker.engine.background import Background
from celery_breaker.engine.news import about, isolated
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Cell, Ticket
from celery_breaker.plugin.pausing.grants import Grants
from celery_breaker.plugin.pausing.intake import Intake

if TYPE_CHECKING:
    from kombu import Message

    from celery_breaker.plugin.mainloop import MainLoop

__all__ = ["Pausing"]

logger = logging.getLogger(__name__)

_TICK = 1.0
"""Seconds between two looks while something is paused: overrides expire unannounced, and permits become free."""

_SOON = 0.05
"""The least time between two looks, in seconds."""

_IDLE = 60.0
"""Seconds between two looks while all is well: changes are announced to it."""

_ALMOST = 3.0
"""Seconds in which a worker without a free slot leaves a half-open breaker's permits to others."""


class Pausing:
    """Stops and resumes queues as the views of their breakers say, and fetches single messages for permits.

    A thread decides from memory and asks for permits; the main loop alone touches the connection.

    Args:
        plan: the breakers that pause it, by queue; see `plan.pause_plan`.
        guarded: the breakers of each task, by its name.
        leases: seconds that a permit is leased, by breaker.
    """

    def __init__(
        self,
        registry: Registry,
        loop: MainLoop,
        *,
        plan: Mapping[str, tuple[str, ...]],
        guarded: Mapping[str, tuple[str, ...]],
        leases: Mapping[str, float],
    ) -> None:
        self._registry = registry
        self._loop = loop
        self._guarded = guarded
        self._leases = leases
        self._plan = {queue: [registry.cell(name, pinned=True) for name in names] for queue, names in plan.items()}
        self._cells = list({cell.name: cell for cells in self._plan.values() for cell in cells}.values())
        self._fetching: set[str] = set()
        self._posted = False
        self.intake = Intake(loop)
        self.grants = Grants(registry)
        self._background = Background(self._look, name="celery-breaker-pausing")

    def start(self) -> None:
        """Follow the views; does nothing where no breaker pauses."""
        if self._cells:
            self._registry.watchers.append(self._seen)
            self._background.start()

    def stop(self) -> None:
        """The worker stops."""
        self._background.stop()

    # --- from the main loop -------------------------------------------------------------------------------------------

    def connected(self, consumer: object) -> None:
        """A task consumer is there and does not consume yet: what is to be paused never starts."""
        self._fetching.clear()
        self._posted = False
        self.intake.attach(consumer)
        isolated(self.apply)

    def disconnected(self) -> None:
        """The connection is gone, or the worker stops consuming."""
        self.intake.detach()
        self.grants.clear()

    def refused(self, cell: Cell) -> None:
        """A message came to a breaker that refuses: perhaps over a queue that was added by hand meanwhile."""
        if cell.policy.on_open == "pause":
            self._post()

    def apply(self) -> None:
        """Stop and resume queues, so that they are as the views say."""
        self._posted = False
        if not self.intake.open:
            return
        self.grants.prune()
        for queue, cells in self._plan.items():
            refusing = next((cell for cell in cells if self._refuses(cell)), None)
            if refusing is not None:
                self._stop(queue, refusing)
            elif queue in self.intake.stopped:
                consumed = self.intake.resume(queue)
                logger.info("queue %r %s", queue, "is consumed again" if consumed else "stays cancelled, by hand")

    def _stop(self, queue: str, cell: Cell) -> None:
        if self.intake.stop(queue):
            logger.info("queue %r is paused by breaker %r", queue, cell.name, extra=about(cell.record))
            self._background.wake()

    def _refuses(self, cell: Cell) -> bool:
        if cell.passing or cell.policy.on_open != "pause":
            return False
        return self._registry.admission(cell) in (Admission.REFUSE, Admission.PERMIT)

    # --- from threads -------------------------------------------------------------------------------------------------

    def _seen(self, cell: Cell, before: Record) -> None:
        if cell in self._cells:
            self._background.wake()

    def _post(self) -> None:
        if not self._posted:
            self._posted = True
            self._loop.turn(self.apply)

    def _look(self) -> float:
        """One look at the views; the seconds until the next is worth while."""
        stopped = self.intake.stopped
        refusing = [cell for cell in self._cells if self._refuses(cell)]
        if not refusing and not stopped:
            return _IDLE
        self._post()
        for cell in refusing:
            self._ask(cell, stopped)
        waits = [self._registry.retry_after(cell) for cell in refusing]
        return max(_SOON, min([_TICK, *(wait for wait in waits if wait is not None)]))

    # --- half-open: one message for each permit -----------------------------------------------------------------------

    def _ask(self, cell: Cell, stopped: frozenset[str]) -> None:
        """Win a permit, if one could be had and a message fetched for it."""
        queues = [queue for queue in stopped if self._only_waits_for(cell, queue)]
        if not queues or cell.name in self._fetching or self._registry.full(cell):
            return
        if self._registry.admission(cell) is not Admission.PERMIT or self._leave_to_others(cell):
            return
        ticket = self._registry.enter(cell, ttl=self._leases.get(cell.name))
        if ticket is not None and ticket.permit is not None:
            self._fetching.add(cell.name)
            self._loop.turn(partial(self._fetch, cell, ticket, queues, self._loop.connections))

    def _only_waits_for(self, cell: Cell, queue: str) -> bool:
        """Whether this breaker's permit is all that a message of the queue needs, as far as pausing goes."""
        cells = self._plan[queue]
        return cell in cells and all(self._registry.admission(other) is not Admission.REFUSE for other in cells)

    def _leave_to_others(self, cell: Cell) -> bool:
        return self._loop.busy and self._registry.link.now() - max(cell.record.since, cell.record.until) < _ALMOST

    def _fetch(self, cell: Cell, ticket: Ticket, queues: list[str], connection: int) -> None:
        """On the main loop: have one message run on this permit, or give it back."""
        self._fetching.discard(cell.name)
        message = None
        try:
            if self.intake.open and connection == self._loop.connections:
                message = self.intake.fetch(queues)
        finally:
            if message is not None and self._would_use(message, cell):
                self.grants.put(message, ticket)
            else:
                self.grants.give_back(ticket)
        if message is None:
            return
        self.intake.handle(message)
        self._background.wake()  # there may be more permits

    def _would_use(self, message: Message, cell: Cell) -> bool:
        """Whether the task would come to the gate at once, and need this breaker's permit there."""
        headers = message.headers or {}
        return cell.name in self._guarded.get(headers.get("task", ""), ()) and not headers.get("eta")
