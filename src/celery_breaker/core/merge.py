"""Records without a database: what several workers know of one breaker, put together in any order to the same end.

A record has two halves which go their own ways: the state, where the higher generation wins, and the operator's word
(the override, and the options that are set), where the later one wins, so that no transition ever lifts what an
operator has said.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import NamedTuple

from celery_breaker.core.record import Override, Record, State, Tuning, decode, encode

__all__ = ["Mark", "Said", "merge", "news", "written"]

_LARGEST = 2**53
"""Counts from there on are not ours; JSON would not keep them everywhere."""

_RANKS = {State.HALF_OPEN: 0, State.CLOSED: 1, State.OPEN: 2}
"""Which state wins between transitions of the same generation: the careful one."""


class Mark(NamedTuple):
    """The worth of what somebody knows, small enough to be told for every breaker. Compare with `news`."""

    generation: int
    writes: int
    state: int
    word: int
    override: int

    @classmethod
    def of(cls, raw: object) -> Mark:
        """Read one that was sent. Raises `ValueError`."""
        if not isinstance(raw, (list, tuple)) or len(raw) != len(cls._fields):
            raise ValueError("no mark of a breaker")
        if not all(type(number) is int and -1 <= number < _LARGEST for number in raw):
            raise ValueError("no mark of a breaker: a number is none")
        return cls(*raw)


@dataclass(frozen=True, slots=True)
class Said:
    """What is known of one breaker.

    Attributes:
        record: its version means nothing here and is 0.
        writes: how many writes have led to its state; orders those of one generation.
        word: when an operator last spoke, in milliseconds; later than every word that the operator's process knew of.
        mark: the worth of all this.
    """

    record: Record
    writes: int
    word: int
    mark: Mark

    @classmethod
    def of(cls, record: Record, *, writes: int, word: int) -> Said:
        """As it stands in a store."""
        record = replace(record, version=0)
        state = replace(record, override=None, tuning=())
        said = replace(Record(name=record.name), override=record.override, tuning=record.tuning)
        return cls(record, writes, word, Mark(record.generation, writes, _check(state), word, _check(said)))

    def encode(self) -> list[object]:
        """As JSON values."""
        return [encode(self.record), self.writes, self.word]

    @classmethod
    def decode(cls, raw: object) -> Said:
        """Read what `encode` made.

        Raises:
            ValueError: it is nothing of the kind.
        """
        if not isinstance(raw, (list, tuple)) or len(raw) < 3 or not isinstance(raw[0], str):
            raise ValueError("no record of a breaker")
        if not all(type(number) is int and 0 <= number < _LARGEST for number in raw[1:3]):
            raise ValueError("no record of a breaker: a number is none")
        record = decode(raw[0], version=0)
        if record.generation >= _LARGEST:
            raise ValueError("no record of a breaker: a generation is none")
        return cls.of(record, writes=raw[1], word=raw[2])


def written(before: Said | None, record: Record, *, now: float) -> Said:
    """What is known once ``record`` has been written over what was known before, at ``now`` in wall time.

    Example:
        >>> said = written(None, Record(name="smtp"), now=10.0)
        >>> said.writes, said.word
        (1, 0)
    """
    was = before.record.override if before is not None else None
    word = before.word if before is not None else 0
    if record.override != was or record.tuning != (before.record.tuning if before is not None else ()):
        word = max(word + 1, int(now * 1000))
    return Said.of(record, writes=before.writes + 1 if before is not None else 1, word=word)


def merge(one: Said, other: Said) -> Said:
    """What follows from both, whichever came first: commutative, associative and idempotent.

    Example:
        >>> tripped = written(None, Record(name="smtp", generation=1, state=State.OPEN), now=10.0)
        >>> merge(written(None, Record(name="smtp"), now=10.0), tripped) == tripped
        True
    """
    state = max(one, other, key=_state_key)
    spoken = max(one, other, key=_word_key)
    if state.word == spoken.word and _spoken(state.record) == _spoken(spoken.record):
        return state
    override, tuning = _spoken(spoken.record)
    return Said.of(replace(state.record, override=override, tuning=tuning), writes=state.writes, word=spoken.word)


def news(mine: Mark | None, theirs: Mark | None) -> bool:
    """Whether who has ``mine`` may know what who has ``theirs`` does not; ``None`` is to know nothing."""
    if mine is None or theirs is None:
        return mine is not None
    for ours, others in ((mine[:3], theirs[:3]), (mine[3:], theirs[3:])):
        # The last number tells only that two differ: each may then have what wins.
        if ours[:-1] > others[:-1] or (ours[:-1] == others[:-1] and ours[-1] != others[-1]):
            return True
    return False


def _state_key(said: Said) -> tuple[int, int, int, float, str]:
    record = said.record
    content = encode(replace(record, override=None, tuning=()))
    return (record.generation, said.writes, _RANKS[record.state], record.until, content)


def _spoken(record: Record) -> tuple[Override | None, Tuning]:
    """What an operator said: the override, and the options that are set."""
    return record.override, record.tuning


def _word_key(said: Said) -> tuple[int, bool, float, str]:
    override, tuning = _spoken(said.record)
    if override is None and not tuning:
        return (said.word, False, 0.0, "")
    since = override.since if override is not None else 0.0
    return (said.word, True, since, encode(Record(name="", override=override, tuning=tuning)))


def _check(record: Record) -> int:
    return zlib.crc32(encode(record).encode())
