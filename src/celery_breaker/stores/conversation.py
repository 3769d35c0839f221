"""What peers say to each other so that all know the same, whatever was lost: who says it, and when.

Everything new is told at once, in one message that all hear. What is lost heals by comparing marks: who joins asks; one
of many says at times what it has; who hears that it could add something says so after a random pause, and is silent if
another was first; who hears that it lacks something asks for it. So a thousand peers make no more noise than three.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from celery_breaker.clock import Clock, monotonic
from celery_breaker.core.journal import Book
from celery_breaker.core.merge import Mark, Said, news
from celery_breaker.core.names import is_name
from celery_breaker.core.record import LAST_TIME
from celery_breaker.stores.message import MessageStore, Note

__all__ = ["BEAT", "Conversation"]

logger = logging.getLogger(__name__)

BEAT = 4.0
"""Seconds, on average, between two times that one of the members says what it has; half as many again at the most."""

SPREAD = 0.1
"""Seconds within which an answer comes."""

_BIAS = 8.0
"""Answers crowd towards the end of the spread, so that the first of a thousand silences most of the others."""

_BATCH = 100
"""Records in one message."""

_SLICE = 500
"""Marks in one message."""

_LONGEST_KEY = 300
_LONGEST_ENTRY = 10_000
"""Characters."""


@dataclass(slots=True)
class _Answer:
    """What somebody was found to lack, to be told ``at`` a time; ``question`` waits to hear that this was all."""

    at: float
    names: set[str]
    question: str | None


class Conversation:
    """One peer's part in it. Thread-safe; sends nothing itself, and knows no transport.

    Args:
        store: what this peer knows.
        me: who this peer is; it ignores its own messages.
        member: a worker, which answers those who join, and says at times what it has; others come and go.
        clock: seconds; need not be the store's.
        uniform: random numbers in [0, 1).
    """

    def __init__(
        self,
        store: MessageStore,
        *,
        me: str,
        member: bool = True,
        clock: Clock = monotonic,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self.me = me
        self.member = member
        self.answered = False
        self._store = store
        self._clock = clock
        self._uniform = uniform
        self._lock = threading.Lock()
        self._question = ""
        self._answers: list[_Answer] = []
        self._at_once: list[Note] = []
        self._wanted: dict[str, Mark] = {}
        self._want_at = math.inf
        self._beat_at = clock() + self._pause()
        self._complained = False

    # --- speaking -----------------------------------------------------------------------------------------------------

    def question(self) -> list[Note]:
        """What to say on joining, and after every time that messages may have been lost."""
        notes = self._all_marks()
        with self._lock:
            self.answered, self._question = False, uuid.uuid4().hex
            notes[-1] = {**notes[-1], "ask": self._question}
        return [*notes, *self._store.claims()]

    def due(self) -> tuple[list[Note], float]:
        """What to say now, and the seconds until there may be more."""
        now = self._clock()
        with self._lock:
            notes, self._at_once = self._at_once, []
            answers = [answer for answer in self._answers if answer.at <= now]
            self._answers = [answer for answer in self._answers if answer.at > now]
            wanted: dict[str, Mark] = {}
            if self._want_at <= now:
                wanted, self._wanted, self._want_at = self._wanted, {}, math.inf
            beats = self.member and self._beat_at <= now
        for answer in answers:
            notes += self._answer(answer)
        notes += self._requests(wanted)
        if beats:
            slices = self._all_marks()
            notes.append(slices[int(self._uniform() * len(slices))])  # each has its turn, and the noise stays the same
            with self._lock:
                self._beat_at = now + self._pause()
        return notes, self._next(now)

    def _answer(self, answer: _Answer) -> list[Note]:
        said = self._store.said(sorted(answer.names))
        notes: list[dict[str, object]] = [
            {"said": [one.encode() for one in said[start : start + _BATCH]]} for start in range(0, len(said), _BATCH)
        ]
        if answer.question is not None:
            notes = notes or [{}]
            notes[-1]["answered"] = answer.question
        return list(notes)

    def _requests(self, wanted: Mapping[str, Mark]) -> list[Note]:
        lacking = sorted(name for name, mark in wanted.items() if news(mark, self._store.mark(name)))
        parts = [lacking[start : start + _SLICE] for start in range(0, len(lacking), _SLICE)]
        return [{"have": {name: self._store.mark(name) for name in part}} for part in parts]

    def _all_marks(self) -> list[Note]:
        """Everything, in slices that say from where to where they go, so that what is missing shows."""
        marks = sorted(self._store.marks().items())
        parts = [marks[start : start + _SLICE] for start in range(0, len(marks), _SLICE)] or [[]]
        firsts = ["", *(part[0][0] for part in parts[1:])]
        return [
            {"have": dict(part), "span": [first, after]}
            for part, first, after in zip(parts, firsts, [*firsts[1:], None], strict=True)
        ]

    def _next(self, now: float) -> float:
        with self._lock:
            times = [answer.at for answer in self._answers] + [self._want_at]
            times += [self._beat_at] if self.member else []
            return max(0.0, min(times) - now) if not self._at_once else 0.0

    def _pause(self) -> float:
        return BEAT * (0.5 + self._uniform())

    def _delay(self) -> float:
        """Uniform in nothing but its rank: of many peers few draw a short one."""
        return SPREAD * math.log1p(self._uniform() * math.expm1(_BIAS)) / _BIAS

    # --- hearing ------------------------------------------------------------------------------------------------------

    def hear(self, note: object) -> set[str]:
        """Take in a message, be it anybody's; the breakers of which more is known now. Then `due` may have changed."""
        if not isinstance(note, dict) or not isinstance(note.get("by"), str):
            self._complain("it does not say by whom it is")
            return set()
        if note["by"] == self.me:
            return set()
        try:
            return self._take_in(note)
        except (ValueError, TypeError, OverflowError) as exc:
            self._complain(exc)
            return set()

    def _take_in(self, note: dict[str, Any]) -> set[str]:
        changed = {name for raw in _list(note.get("said", [])) if (name := self._hear_said(Said.decode(raw)))}
        if "gone" in note:
            changed |= self._hear_gone(*_list(note["gone"]))
        if "claim" in note:
            key, holder, at, ttl = _list(note["claim"])
            self._store.claimed(_key(key), _key(holder), at=_seconds(at), ttl=_seconds(ttl))
        if "free" in note:
            key, holder = _list(note["free"])
            self._store.freed(_key(key), _key(holder))
        if "noted" in note:
            name, book, *entries = _list(note["noted"])
            self._store.noted(_name(name), Book(book), [_entry(entry) for entry in entries])
        if "have" in note:
            self._hear_marks(note)
        if "answered" in note:
            self._hear_answered(note["answered"])
        return changed

    def _hear_said(self, said: Said) -> str | None:
        name = _name(said.record.name)
        changed = self._store.learn(said)
        mark = self._store.mark(name)
        with self._lock:
            for answer in self._answers:
                if name in answer.names and not news(mark, said.mark):
                    answer.names.discard(name)
            self._drop_idle()
        return name if changed else None

    def _hear_gone(self, name: object, mark: object) -> set[str]:
        name = _name(name)
        if self._store.unlearn(name, Mark.of(mark)):
            return {name}
        if self._store.mark(name) is not None:
            with self._lock:
                self._answers.append(_Answer(self._clock() + self._delay(), {name}, None))
        return set()

    def _hear_answered(self, question: object) -> None:
        with self._lock:
            if question == self._question:
                self.answered = True
            for answer in self._answers:
                if answer.question == question:
                    answer.question = None
            self._drop_idle()

    def _drop_idle(self) -> None:
        self._answers = [answer for answer in self._answers if answer.names or answer.question]

    def _hear_marks(self, note: dict[str, Any]) -> None:
        if not isinstance(note["have"], dict):
            raise ValueError("no marks")
        theirs = {_name(name): Mark.of(raw) if raw is not None else None for name, raw in note["have"].items()}
        span, question = note.get("span"), note.get("ask")
        mine = self._within(span, theirs)
        names = {name for name in {*mine, *theirs} if news(mine.get(name), theirs.get(name))}
        lacking = {name: mark for name, mark in theirs.items() if mark and news(mark, mine.get(name))}
        now = self._clock()
        with self._lock:
            if isinstance(question, str) and self.member:
                self._at_once += self._store.claims()
                self._answers.append(_Answer(now + self._delay(), names, question))
            elif names:
                self._answers.append(_Answer(now + self._delay(), names, None))
            if lacking:
                self._wanted |= lacking
                self._want_at = min(self._want_at, now + self._delay())
            if span is None:
                self._leave_asking(theirs)
            elif not names and not lacking and question is None:
                self._beat_at = now + self._pause()

    def _leave_asking(self, theirs: Mapping[str, Mark | None]) -> None:
        """Another asks for the same: one answer serves both."""
        for name, mark in theirs.items():
            if name in self._wanted and not news(mark, self._store.mark(name)):
                del self._wanted[name]

    def _within(self, span: object, theirs: Iterable[str]) -> dict[str, Mark]:
        """What is known here of what somebody spoke of."""
        if span is None:
            marks = {name: self._store.mark(name) for name in theirs}
            return {name: mark for name, mark in marks.items() if mark is not None}
        first, after = _list(span)
        if not isinstance(first, str) or not (after is None or isinstance(after, str)):
            raise ValueError("no span of names")
        return {
            name: mark for name, mark in self._store.marks().items()
            if first <= name and (after is None or name < after)
        }  # fmt: skip

    def _complain(self, why: object) -> None:
        level = logging.DEBUG if self._complained else logging.WARNING
        self._complained = True
        logger.log(level, "a message on the bus is not of a peer of this package, and ignored: %s", why)


def _list(value: object) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise ValueError("a list is none")
    return list(value)


def _name(value: object) -> str:
    if not isinstance(value, str) or not is_name(value):
        raise ValueError("a name is none")
    return value


def _key(value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_KEY:
        raise ValueError("a key is none")
    return value


def _entry(value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_ENTRY:
        raise ValueError("an entry is none")
    return value


def _seconds(value: object) -> float:
    if type(value) not in (int, float) or not abs(value) < LAST_TIME:  # type: ignore[arg-type]
        raise ValueError("a time is none")
    return float(value)  # type: ignore[arg-type]
