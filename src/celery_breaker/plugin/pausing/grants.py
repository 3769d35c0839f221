"""Grants: permits that were won before the message was fetched which is to use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery_breaker.engine.registry import Registry

if TYPE_CHECKING:
    from kombu import Message

    from celery_breaker.engine.view import Ticket

__all__ = ["Grants"]


class Grants:
    """Keeps the permit of each fetched message until its request comes to the gate. Used on the main loop alone."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._held: dict[int, tuple[Message, Ticket]] = {}

    def put(self, message: Message, ticket: Ticket) -> None:
        """This message may run on this permit."""
        self._held[id(message)] = (message, ticket)  # delivery tags are counted by each channel anew

    def take(self, message: Message) -> Ticket | None:
        """The permit that was put by for this message, if it still is worth something; once."""
        if not self._held:
            return None
        _, ticket = self._held.pop(id(message), (message, None))
        if ticket is None or ticket.generation == ticket.cell.record.generation:
            return ticket
        self.give_back(ticket)
        return None

    def drop(self, message: Message) -> None:
        """This message will not run after all."""
        self.give_back(self.take(message))

    def prune(self) -> None:
        """Give back what nobody will come for: the message was discarded, or the permit is of a time that is over."""
        for message, ticket in list(self._held.values()):
            if message.acknowledged or ticket.generation != ticket.cell.record.generation:
                self.drop(message)

    def clear(self) -> None:
        """Give back all: the connection is gone, and the broker gives the messages out again."""
        for message, _ in list(self._held.values()):
            self.drop(message)

    def give_back(self, ticket: Ticket | None) -> None:
        """Free the permit of a ticket, if there is one."""
        if ticket is not None:
            self._registry.unused(ticket)
