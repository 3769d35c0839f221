"""The header in which a message carries the story of its deferrals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["HEADER", "Note"]

HEADER = "celery_breaker"
"""Name of the message header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is known of a message's deferrals. Times are seconds of the store's clock, on which all workers agree.

    Attributes:
        breaker: which breaker refused it last.
        queue: the queue it came from, and goes back to.
        since: when it was set aside last.
        first: when it was set aside first.
        deferrals: how often it was set aside.
        due: until when it waits if its breaker stays closed; ``None`` if only for the breaker.
        retries: which retry of its task it was then; a retry that a task sends carries the note of the run before.
        priority: what it is to have again when it is released, where it had to be parked without.
    """

    breaker: str = ""
    queue: str = ""
    since: float = 0.0
    first: float | None = None
    deferrals: int = 0
    due: float | None = None
    retries: int = 0
    priority: int | None = None

    @classmethod
    def of(cls, headers: object) -> Note:
        """Read the header; whatever makes no sense is left at its default.

        Example:
            >>> Note.of({"celery_breaker": {"deferrals": 2, "queue": 7}})
            Note(breaker='', queue='', since=0.0, first=None, deferrals=2, due=None, retries=0, priority=None)
        """
        note = headers.get(HEADER) if isinstance(headers, Mapping) else None
        if not isinstance(note, Mapping):
            return cls()
        breaker, queue, deferrals = note.get("breaker"), note.get("queue"), note.get("deferrals")
        since, first, priority = note.get("since"), note.get("first"), note.get("priority")
        return cls(
            breaker=breaker if isinstance(breaker, str) else "",
            queue=queue if isinstance(queue, str) else "",
            since=_seconds(since) or 0.0,
            first=_seconds(first),
            deferrals=_whole(deferrals),
            due=_seconds(note.get("due")),
            retries=_whole(note.get("retries")),
            priority=priority if isinstance(priority, int) else None,
        )

    def again(self, *, breaker: str, queue: str, now: float, wait: float | None = None, retries: object = 0) -> Note:
        """The note of a message that is set aside once more, for ``wait`` seconds if its breaker stays closed."""
        return Note(
            breaker=breaker,
            queue=queue,
            since=now,
            first=now if self.first is None else self.first,
            deferrals=self.deferrals + 1,
            due=None if wait is None else now + wait,
            retries=_whole(retries),
        )

    def on(self, headers: Mapping[str, Any]) -> dict[str, Any]:
        """These headers with this note on them."""
        fields: dict[str, object] = {"breaker": self.breaker, "queue": self.queue, "since": self.since}
        fields |= {"first": self.first, "deferrals": self.deferrals, "retries": self.retries}
        if self.due is not None:
            fields["due"] = self.due
        if self.priority is not None:
            fields["priority"] = self.priority
        return {**headers, HEADER: fields}


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _seconds(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, (int, float)) else None
    except OverflowError:
        return None
