"""The journal of a breaker: a book of what became of it and who did that, and one of its last failures."""

from __future__ import annotations

import dataclasses
import enum
import json
from dataclasses import dataclass

from celery_breaker.core.events import Change
from celery_breaker.core.record import LAST_TIME
from celery_breaker.core.tuning import tuning_words

__all__ = ["Book", "Entry", "Event", "decode_entry", "encode_entry", "entry_of"]

_LONGEST = 500
"""Characters of a text that are kept: a journal is read by people, and stored many times over."""


class Book(str, enum.Enum):
    """Which of a breaker's two books; failures are many, and must not push its changes out.

    Example:
        >>> Book.HISTORY.keep, Book.FAILURES.keep
        (100, 20)
    """

    HISTORY = "history"
    FAILURES = "failures"

    __str__ = str.__str__

    @property
    def keep(self) -> int:
        """Entries that are kept; older ones go."""
        return 100 if self is Book.HISTORY else 20


class Event(str, enum.Enum):
    """What an entry tells.

    Example:
        >>> Event("purged") is Event.PURGED
        True
    """

    TRANSITION = "transition"
    """The breaker moved to the state ``what``."""
    OVERRIDE = "override"
    """An operator set the mode ``what``."""
    TUNED = "tuned"
    """An operator set options of the policy, which are now ``what``; empty if they are the app's again."""
    RELEASED = "released"
    """An operator sent ``count`` parked tasks back."""
    PURGED = "purged"
    """An operator deleted ``count`` parked tasks."""
    FAILURE = "failure"
    """A call failed with ``what``."""

    __str__ = str.__str__


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a journal.

    Attributes:
        at: seconds of the store's clock.
        what: the state, mode or options that it came to, or the exception.
        before: the state, mode or options before.
        generation: of the record from then on.
        count: of tasks, or of transitions in a row without recovery.
        reason: why, in words.
        by: the operator, or the worker.
        task, task_id: whose call failed.

    Example:
        >>> Entry(at=1.5, event=Event.RELEASED, count=3, by="eve").count
        3
    """

    at: float
    event: Event
    what: str = ""
    before: str = ""
    generation: int = 0
    count: int = 0
    reason: str = ""
    by: str = ""
    task: str = ""
    task_id: str = ""


_FIELDS = {field.name: field.default for field in dataclasses.fields(Entry)}
_TEXTS = ("what", "before", "reason", "by", "task", "task_id")


def entry_of(change: Change, *, by: str) -> Entry:
    """What a change is in the journal; ``by`` is who won it, for one that no operator ordered."""
    if change.tuning is not None and not change.moved:
        event, what, before = Event.TUNED, tuning_words(change.tuning), tuning_words(change.tuning_before)
    elif not change.moved and (change.overridden or not change.stepped):
        event, what, before = Event.OVERRIDE, str(change.mode_after), str(change.mode_before)
    else:
        event, what, before = Event.TRANSITION, str(change.after), str(change.before)
    return Entry(
        at=change.at,
        event=event,
        what=what,
        before=before,
        generation=change.generation,
        count=change.trips if event is Event.TRANSITION else 0,
        reason=change.reason,
        by=change.by or by,
    )


def encode_entry(entry: Entry) -> str:
    """The entry as JSON in ASCII; what is at its default is left out, and long texts are cut.

    Example:
        >>> encode_entry(Entry(at=1.5, event=Event.PURGED, count=3, by="eve"))
        '{"at":1.5,"event":"purged","count":3,"by":"eve"}'
    """
    data = {name: value for name, value in dataclasses.asdict(entry).items() if value != _FIELDS[name]}
    for name in _TEXTS:
        if name in data:
            data[name] = data[name][:_LONGEST]
    return json.dumps(data, separators=(",", ":"))


def decode_entry(data: str | bytes) -> Entry | None:
    """Read what `encode_entry` wrote; ``None`` for what is no entry, or one that only a newer release knows.

    Example:
        >>> decode_entry('{"at":1.5,"event":"purged","count":3,"colour":"red"}').count
        3
        >>> decode_entry("garbage")
    """
    try:
        raw = json.loads(data)
        known = {name: value for name, value in raw.items() if name in _FIELDS}
        entry = Entry(**{**known, "event": Event(known["event"]), "at": float(known["at"])})
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError, OverflowError):
        return None
    sound = abs(entry.at) < LAST_TIME and all(type(count) is int for count in (entry.generation, entry.count))
    return entry if sound and all(isinstance(getattr(entry, name), str) for name in _TEXTS) else None
