"""What a Redis broker's append-only file tells of each message: how often it was given out again, and how it vanished.

kombu pops a message (``BRPOP``) and then notes in the hash ``unacked`` that it is in hand. A consumer that is killed
in between takes the message with it, and so does a Redis that is: no plugin can help there. Here these are told apart
from messages that were in hand and then lost.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PARKED = "celery_breaker.parked."
_BROKER = b"0"


@dataclass
class Story:
    """The messages of one broker, by delivery tag, as far as the file goes.

    Attributes:
        again: by task id, how often a message in hand was put back to its queue without being parked.
    """

    again: Counter[str] = field(default_factory=Counter)
    _task: dict[str, str] = field(default_factory=dict)
    _lists: defaultdict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    _listed: Counter[str] = field(default_factory=Counter)
    _in_hand: set[str] = field(default_factory=set)
    _last: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> Story:
        """Read the append-only file of the Redis whose data are in this folder."""
        story = cls()
        database = _BROKER
        for words in _commands(folder):
            if words[0].upper() == b"SELECT":
                database = words[1]
            elif database == _BROKER:
                story._hear(words[0].upper(), [word.decode(errors="replace") for word in words[1:]])
        return story

    @property
    def swallowed(self) -> set[str]:
        """Tasks whose message was popped and never noted as in hand: kombu's gap."""
        return self._ended("popped")

    @property
    def acknowledged(self) -> set[str]:
        """Tasks whose message was in hand, and was let go."""
        return self._ended("acknowledged")

    def _ended(self, how: str) -> set[str]:
        there = {self._task[tag] for tag, last in self._last.items() if last != how}
        return {self._task[tag] for tag, last in self._last.items() if last == how} - there

    def _hear(self, command: bytes, words: list[str]) -> None:
        if command in (b"LPUSH", b"RPUSH"):
            for element in words[1:]:
                self._pushed(words[0], element, left=command == b"LPUSH")
        elif command in (b"RPOP", b"LPOP"):
            self._popped(words[0], left=command == b"LPOP")
        elif command == b"HSET" and words[0] == "unacked":
            self._in_hand.add(words[1])
            self._last[words[1]] = "in hand"
        elif command == b"HDEL" and words[0] == "unacked":
            self._let_go(words[1])
        elif command in (b"DEL", b"UNLINK"):
            for key in words:
                self._lists.pop(key, None)

    def _pushed(self, key: str, element: str, *, left: bool) -> None:
        try:
            message = json.loads(element)
            tag, task = message["properties"]["delivery_tag"], message["headers"]["id"]
        except (ValueError, LookupError, TypeError):
            tag = task = ""  # no task, but it has its place in the list
        if self._last.get(tag) == "acknowledged" and not key.startswith(PARKED):
            self.again[task] += 1
        self._task[tag] = task
        self._listed[tag] += 1
        self._last[tag] = "queued"
        (self._lists[key].appendleft if left else self._lists[key].append)(tag)

    def _popped(self, key: str, *, left: bool) -> None:
        elements = self._lists[key]
        if not elements:
            return
        tag = elements.popleft() if left else elements.pop()
        self._listed[tag] -= 1
        if not self._listed[tag] and tag not in self._in_hand:
            self._last[tag] = "popped"

    def _let_go(self, tag: str) -> None:
        if tag in self._in_hand:
            self._in_hand.discard(tag)
            if not self._listed[tag]:
                self._last[tag] = "acknowledged"


def _commands(folder: Path) -> Iterator[list[bytes]]:
    """The commands in the file, or (since Redis 7) in the increments of the file, in order; all that are complete."""
    increments = sorted(folder.glob("appendonlydir/*.incr.aof"), key=lambda path: int(path.name.split(".")[-3]))
    for path in increments or [folder / "appendonly.aof"]:
        data, at = path.read_bytes(), 0
        while at < len(data):
            try:
                count, at = _number(data, at, b"*")
                words = []
                for _ in range(count):
                    length, at = _number(data, at, b"$")
                    words.append(data[at : at + length])
                    at += length + 2
            except ValueError:
                return  # being written just now
            if at <= len(data):
                yield words


def _number(data: bytes, at: int, mark: bytes) -> tuple[int, int]:
    end = data.index(b"\r\n", at)
    if data[at : at + 1] != mark:
        raise ValueError(f"{data[at : at + 20]!r} where {mark!r} was expected")
    return int(data[at + 1 : end]), end + 2
