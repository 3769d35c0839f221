"""Moving messages inside Redis: in one atomic step each, so that a killed process leaves neither copies nor gaps.

All that this package knows of how kombu keeps its messages in Redis is in this file. A queue is a list per priority,
filled at the head and consumed from the tail; a message in hand is a field of the hash ``unacked`` and a member of
the sorted set ``unacked_index``.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import math
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from kombu.transport import virtual
from kombu.utils.json import dumps, loads

from celery_breaker.plugin.connections import OwnConnection
from celery_breaker.plugin.parking.lot import (
    QUARANTINE,
    Held,
    Move,
    Pace,
    Targets,
    Turn,
    parked_task,
    parking_queue,
    release_queue,
)
from celery_breaker.plugin.parking.note import HEADER, Note
from celery_breaker.status import ParkedTask, Waiting

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Connection

__all__ = ["RedisLot", "forget_locally", "serves"]

logger = logging.getLogger(__name__)

_AT_ONCE = 200
"""Messages per script, so that Redis is never held for long."""

_MOVE = """
local moved = {}
for i = 1, #ARGV, 3 do
  local tag = ARGV[i]
  if redis.call("HDEL", KEYS[1], tag) == 1 then
    redis.call("ZREM", KEYS[2], tag)
    redis.call("LPUSH", KEYS[2 + tonumber(ARGV[i + 1])], ARGV[i + 2])
    moved[#moved + 1] = tag
  end
end
return moved
"""
"""Messages in hand to lists. KEYS: unacked, index, lists. ARGV: tag, place of the list, payload; each in turn.

One that is no longer in hand has been given to somebody else, who answers for it now.
"""

_RELEASE = """
local tail = redis.call("LRANGE", KEYS[1], -(#ARGV / 4), -1)
if #tail < #ARGV / 4 then return 0 end
for i = 0, #ARGV / 4 - 1 do
  if redis.sha1hex(tail[#tail - i]) ~= ARGV[i * 4 + 1] then return i end
  local payload = ARGV[i * 4 + 3]
  if payload == "" then payload = tail[#tail - i] end
  local push = ARGV[i * 4 + 4] == "1" and "RPUSH" or "LPUSH"
  redis.call(push, KEYS[tonumber(ARGV[i * 4 + 2])], payload)
  redis.call("RPOP", KEYS[1])
end
return #ARGV / 4
"""
"""The tail of a list to others, as long as it is what the caller saw. KEYS: lists, the parked one first.

ARGV: digest, place of the list, payload ("" keeps it), "1" to go ahead of what waits; oldest first.
"""


def serves(connection: Connection) -> bool:
    """Whether this broker is one Redis server that keeps track of messages in hand."""
    if connection.transport.driver_type != "redis":
        return False
    return bool((connection.transport_options or {}).get("ack_emulation", True))


_LOOKS_AT_ONCE = 500

_LOOK = """
local found = {}
for i = 1, #KEYS do
  local size = redis.pcall("LLEN", KEYS[i])
  if type(size) ~= "number" then size = 0 end
  local since = ""
  if size > 0 then
    local read, message = pcall(cjson.decode, redis.call("LINDEX", KEYS[i], -1))
    if read and type(message) == "table" and type(message.headers) == "table" then
      local note = message.headers.celery_breaker
      if type(note) == "table" and type(note.since) == "number" then since = string.format("%.6f", note.since) end
    end
  end
  found[#found + 1] = size
  found[#found + 1] = since
end
return found
"""
"""Length of each list, and since when its oldest message has been there. KEYS: parking queues."""


class RedisLot(OwnConnection):
    """Implements `Lot` on a Redis broker. Only release, size, depth and purge need a connection of their own."""

    pace = Pace()
    keeps_priority = False

    def __init__(self, app: Celery) -> None:
        super().__init__(app)
        self._targets = Targets()

    def place(self, name: str, origin: str) -> str:
        """See `Lot.place`."""
        return parking_queue(name)

    def move(self, moves: Sequence[Move]) -> None:
        """See `Lot.move`; one round trip for up to 200 messages of a channel."""
        for start in range(0, len(moves), _AT_ONCE):
            current = [move for move in moves[start : start + _AT_ONCE] if move.current()]
            if put := [move for move in current if move.acknowledged]:
                self._put(put)
            if moved := [move for move in current if not move.acknowledged]:
                self._move(moved)

    def _put(self, moves: Sequence[Move]) -> None:
        """Copies of what the broker no longer knows, over this lot's own connection: theirs may be long gone."""
        channel = self._channel()
        lists: dict[str, list[str]] = {}
        for move in moves:
            raw = _raw(move)
            # the acknowledgement may be on its way still, and must not be taken for that of the copy
            raw["properties"] = {**raw["properties"], "delivery_tag": str(uuid.uuid4())}
            lists.setdefault(_list_for(channel, move.queue, raw), []).append(dumps(raw))
        with channel.conn_or_acquire() as client:
            for name, payloads in lists.items():
                client.lpush(name, *payloads)
        for move in moves:
            move.ack()

    def _move(self, moves: Sequence[Move]) -> None:
        channel = cast("Any", moves[0].message.channel)
        lists = _Places()
        words: list[object] = []
        for move in moves:
            raw = _raw(move)
            words += [move.message.delivery_tag, lists.place(_list_for(channel, move.queue, raw)), dumps(raw)]
        _evaluate(channel, _MOVE, [channel.unacked_key, channel.unacked_index_key, *lists.names], words)
        for move in moves:
            move.gone()

    def size(self, name: str) -> int:
        """See `Lot.size`."""
        return int(self._channel()._size(parking_queue(name)))

    def look(self, names: Iterable[str]) -> dict[str, Waiting]:
        """See `Lot.look`; one round trip for each 500 breakers."""
        wanted = list(names)
        found: dict[str, Waiting] = {}
        for start in range(0, len(wanted), _LOOKS_AT_ONCE):
            part = wanted[start : start + _LOOKS_AT_ONCE]
            answers = cast("list[Any]", _evaluate(self._channel(), _LOOK, [parking_queue(name) for name in part], []))
            for name, size, since in zip(part, answers[::2], answers[1::2], strict=True):
                found[name] = Waiting(int(size), _number(since))
        return found

    def peek(self, name: str, *, offset: int, count: int) -> list[ParkedTask]:
        """See `Lot.peek`."""
        channel = self._channel()
        with channel.conn_or_acquire() as client:
            found = client.lrange(_prefixed(channel, parking_queue(name)), -(offset + count), -(offset + 1))
        return [parked_task(_headers(element)) for element in reversed(found)]

    def target_depth(self, name: str) -> int | None:
        """See `Lot.target_depth`."""
        return self._targets.depth(name, lambda queue: int(self._channel()._size(queue)))

    def release(self, name: str, count: int, *, ahead: bool = False, held: Held | None = None) -> int:
        """See `Lot.release`; a message moves in one step, and the bytes of one that a worker parked do not change."""
        targets: Counter[str] = Counter()
        turn = Turn(count, count if held is None else self.size(name), held)
        while turn.left:
            asked = min(turn.left, _AT_ONCE)
            seen, done = self._release(name, asked, targets, turn, ahead=ahead)
            if seen < asked or not done:  # the queue is empty, or somebody else is at work on it
                break
        return self._targets.note(name, targets)

    def _release(self, name: str, count: int, targets: Counter[str], turn: Turn, *, ahead: bool) -> tuple[int, int]:
        channel = self._channel()
        parked = parking_queue(name)
        with channel.conn_or_acquire() as client:
            tail = client.lrange(_prefixed(channel, parked), -count, -1)
        lists = _Places(parked)
        words: list[object] = []
        queues: list[str] = []
        for element in reversed(tail):
            queue, payload, key = _destination(channel, element, parked, turn)
            queues.append(queue)
            words += [_digest(element), lists.place(key), payload, int(ahead)]
        done = int(cast("int", _evaluate(channel, _RELEASE, lists.names, words))) if tail else 0
        for queue in queues[:done]:
            turn.moved(queue == parked)
            if queue not in (QUARANTINE, parked):
                targets[queue] += 1
        return len(tail), done

    def purge(self, name: str) -> int:
        """See `Lot.purge`."""
        return int(self._channel().queue_purge(parking_queue(name)) or 0)


class _Places:
    """Numbers the lists of a script from 1."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)

    def place(self, name: str) -> int:
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name) + 1


def _raw(move: Move) -> dict[str, Any]:
    """The message as Redis has it, with the headers that it is to have."""
    return {**cast("Any", move.message)._raw, "headers": dict(move.headers)}


def _list_for(channel: Any, queue: str, raw: Mapping[str, Any]) -> str:
    if queue.startswith("celery_breaker."):
        return queue  # parked in one list, in the order of parking
    return str(channel._q_for_pri(queue, channel._get_message_priority(raw, reverse=False)))


def _destination(channel: Any, element: bytes, parked: str, turn: Turn) -> tuple[str, str, str]:
    """Queue, payload ("" for the element as it is) and list that a parked element goes to; ``parked`` if it waits."""
    try:
        raw = loads(element)
        queue = release_queue(raw["headers"])
        if not raw["properties"]["delivery_tag"] or not isinstance(raw["properties"]["delivery_info"], dict):
            raise ValueError("it has no delivery tag or no delivery info")
        if not isinstance(raw.get("body"), str):
            raise ValueError("it has no body")
        if turn.waits(raw["headers"]):
            return parked, "", parked
        payload = _as_if_sent_to(queue, raw)
        return queue, payload, _list_for(channel, queue, raw)
    except Exception as exc:  # whatever is in there, it must not hold up what stands behind it
        logger.error("a parked message cannot be released and goes to %s: %s", QUARANTINE, exc)
        return QUARANTINE, _quarantined(element, str(exc)), QUARANTINE


def _as_if_sent_to(queue: str, raw: dict[str, Any]) -> str:
    """The payload of what was published into the parking queue, as if it never had been; "" for what a worker parked.

    A retry goes where a message says that it came from, and kombu keeps messages of one queue apart by priority.
    """
    properties, note = raw["properties"], Note.of(raw["headers"])
    if properties["delivery_info"].get("routing_key") != parking_queue(note.breaker):
        return ""
    properties["delivery_info"] = {"exchange": "", "routing_key": queue}
    if note.priority is not None:
        properties["priority"] = note.priority
        raw["headers"] = replace(note, priority=None).on(raw["headers"])
    return dumps(raw)


def _quarantined(element: bytes, reason: str) -> str:
    """An envelope that any kombu consumer can read, around bytes that may be no message at all."""
    properties = {
        "body_encoding": "base64",
        "delivery_tag": _digest(element),
        "delivery_info": {"exchange": "", "routing_key": QUARANTINE},
        "delivery_mode": 2,
        "priority": 0,
    }
    return dumps(
        {
            "body": base64.b64encode(element).decode(),
            "content-type": "application/octet-stream",
            "content-encoding": "binary",
            "headers": {HEADER + "_reason": reason},
            "properties": properties,
        }
    )


def _headers(element: bytes) -> object:
    try:
        return loads(element)["headers"]
    except Exception:  # whatever is in there
        return None


def _number(text: bytes) -> float | None:
    number = float(text or "nan")
    return number if math.isfinite(number) else None


def _digest(element: bytes) -> str:
    """What Redis's own ``sha1hex`` says: tells whether an element is still the one that was seen."""
    return hashlib.sha1(element, usedforsecurity=False).hexdigest()


def _prefixed(channel: Any, key: str) -> str:
    """kombu prefixes the keys of the commands it knows; LRANGE and EVAL are not among them."""
    return f"{channel.global_keyprefix or ''}{key}"


def _evaluate(channel: Any, script: str, keys: Sequence[str], words: Sequence[object]) -> object:
    with channel.conn_or_acquire() as client:
        return client.eval(script, len(keys), *(_prefixed(channel, key) for key in keys), *words)


def forget_locally(message: Any) -> None:
    """Free the place that a message, already gone from Redis, takes in this worker's prefetch."""
    virtual.QoS.ack(message.channel.qos, message.delivery_tag)
    message._state = "ACK"
