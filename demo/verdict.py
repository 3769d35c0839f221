"""What became of the mails: the figures that the two arms are compared by."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from demo.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One arm's figures.

    Attributes:
        placed: orders placed, each of which is owed one mail.
        once, twice, lost: orders whose mail the server accepted once, more than once, never.
        calls_to_dead_server: calls made while its port was closed.
        calls: calls to the mail server in all.
        backlog: orders whose mail was owed when the server came back.
        backlog_lost: how many of those never got it.
        recovery: seconds from the server's return to the last mail delivered of that backlog.
    """

    placed: int
    once: int
    twice: int
    lost: int
    calls_to_dead_server: int
    calls: int
    backlog: int
    backlog_lost: int
    recovery: float | None

    @property
    def exactly_once(self) -> bool:
        """Whether each order has exactly one mail."""
        return self.placed > 0 and self.once == self.placed

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {**dataclasses.asdict(self), "exactly_once": self.exactly_once}


def judge(record: Record) -> Verdict:
    """Reckon the figures of a finished arm."""
    copies = record.copies
    first_mail: dict[int, float] = {}
    for at, order in record.mails:
        first_mail.setdefault(order, at)
    back = record.came_back
    backlog = [
        order
        for order, at in record.placed.items()
        if back is not None and at < back <= first_mail.get(order, float("inf"))
    ]
    delivered = [first_mail[order] for order in backlog if order in first_mail]
    return Verdict(
        placed=len(record.placed),
        once=sum(copies[order] == 1 for order in record.placed),
        twice=sum(copies[order] > 1 for order in record.placed),
        lost=sum(copies[order] == 0 for order in record.placed),
        calls_to_dead_server=record.calls_to_dead_server(),
        calls=len(record.calls),
        backlog=len(backlog),
        backlog_lost=len(backlog) - len(delivered),
        recovery=max(delivered) - back if delivered and back is not None else None,
    )
