"""The Redis store (also Valkey, Sentinel, Cluster): one round trip per call, on the server's clock."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from typing import Any, TypeVar, cast

from celery_breaker.core.journal import Book
from celery_breaker.core.lease import Lease
from celery_breaker.core.record import Record, decode, encode
from celery_breaker.core.windows import Delta, Totals, Window
from celery_breaker.errors import StoreError
from celery_breaker.stores.base import JOURNAL_TTL, Snapshot, window_ttl
from celery_breaker.stores.redis_clients import FAILURES, Client, NoScriptError, open_client
from celery_breaker.stores.redis_urls import target

__all__ = ["RedisStore"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

_READ_AT_ONCE = 1000
"""Keys per script call, below Lua's limit on unpacked values."""

_SCRIPTS = ("read", "tally", "swap", "lease", "note")


class RedisStore:
    """Implements `Store` on Redis. Thread-safe; survives ``SCRIPT FLUSH``, restarts, failovers and forks.

    Keys are ``PREFIX:{NAME}:record``, ``:window``, ``:history`` and ``:failures``, one hash tag per breaker; leases are
    ``PREFIX:{KEY}:lease``, and the set ``PREFIX:names`` lists the records. ``global_keyprefix`` stands before all of
    them.

    *Sentinel.* While no master is known, or the old one still answers for a replica, calls raise; each new connection
    asks the sentinels anew. Redis replicates late: a failover may undo the last writes.

    *Cluster.* A breaker's keys are on one node, and every call but `read` of many and the first `swap` goes to one.
    `read`, ``now`` and with them all deadlines of records are on the clock of the node that has ``PREFIX:names``;
    leases and windows are on the clock of their own node. As far as the clocks of the nodes differ, a breaker may
    stay open for longer or shorter; no lease is held twice, for its node alone decides. A node that is away fails the
    calls for its own breakers, and each `read` that asks for one of them.

    *Rights.* A user needs ``~PREFIX:*`` (``global_keyprefix`` comes first), and ``+eval +evalsha +time +mget +get +set
    +del +sadd +srem +smembers +hget +hset +hincrby +hgetall +hdel +zadd +zrem +zcard +zscore +zrange
    +zremrangebyscore +lpush +ltrim +lrange +expire +pexpire +ping``; ``+select`` for a database other
    than 0; on a cluster also ``+cluster|slots +command +asking``.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://`` as redis-py understands it; ``valkey://`` and ``valkeys://``
            likewise; ``sentinel://HOST:PORT;sentinel://HOST:PORT/DB`` as Celery has it; ``redis+cluster://`` and
            ``rediss+cluster://``, with one or more nodes joined in the same way. Parameters are those of redis-py, and
            ``master_name``, ``min_other_sentinels`` and ``global_keyprefix``.
        prefix: first part of every key.
        timeout: seconds that a command, or a connection attempt, may take; a call that has to look for the master, or
            for a cluster's nodes, may take as long for each server that hangs.
        options: what else the app says of this server; the URL wins. ``ssl`` (ssl_* arguments of redis-py; turns on
            TLS), ``username``, ``password``, ``credential_provider``, ``master_name``, ``min_other_sentinels``,
            ``sentinel_kwargs`` and ``global_keyprefix``.

    Raises:
        StoreError: from every method, when the server cannot be reached or fails. It quotes no password.
        ValueError, TypeError: from the constructor, when the URL or an option cannot be.

    Example:
        >>> RedisStore("sentinel://user:secret@a;sentinel://b/1", options={"master_name": "m"}).url
        'sentinel://a;sentinel://b/1'
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "celery-breaker",
        timeout: float = 1.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._target = target(url, options or {})
        self.url: str = self._target.shown
        self._prefix = self._target.keyprefix + prefix
        self._timeout = timeout
        self._client = open_client(self._target, timeout=timeout)
        self._inherited: list[Client] = []  # clients of before a fork, kept from being collected
        self._unreadable: set[str] = set()
        self._read, self._tally, self._swap, self._lease, self._note = map(_Script, _SCRIPTS)

    def after_fork(self) -> None:
        """Start anew in a forked child: a thread of the parent may have held the pool's lock, now held for ever."""
        self._client.abandon()
        self._inherited.append(self._client)
        self._client = open_client(self._target, timeout=self._timeout)

    def _call(self, script: _Script, key: str, args: Sequence[str | int | float]) -> list[bytes | None]:
        client = self._client

        def run() -> list[bytes | None]:
            try:
                return cast("list[bytes | None]", client.execute("EVALSHA", script.digest, 1, key, *args))
            except NoScriptError:  # from here on, the server knows it
                return cast("list[bytes | None]", client.execute("EVAL", script.text, 1, key, *args))

        return self._answer(run)

    def _key(self, name: str, kind: str) -> str:
        return f"{self._prefix}:{{{name}}}:{kind}"

    def read(self, names: Iterable[str]) -> Snapshot:
        """See `Store.read`. What is no record is reported with its key and stands as a fresh, closed breaker."""
        wanted = list(names)
        records: dict[str, Record] = {}
        now = 0.0
        for start in range(0, max(len(wanted), 1), _READ_AT_ONCE):
            part = wanted[start : start + _READ_AT_ONCE]
            seconds, micros, *values = self._values([self._key(name, "record") for name in part])
            now = _time(seconds, micros)
            for name, value in zip(part, values, strict=True):
                records[name] = self._parse(name, value)
        return Snapshot(now, records)

    def _parse(self, name: str, value: bytes | None) -> Record:
        if value is None:
            return Record(name=name)
        digits, space, data = value.partition(b" ")
        version = int(digits) if space and digits.isdigit() and len(digits) <= 15 else 0  # as swap.lua has it
        try:
            record = decode(data, version=version)
        except ValueError:
            record = None
        if record is not None and record.name == name and version:
            self._unreadable.discard(name)
            return record
        if name not in self._unreadable:
            self._unreadable.add(name)
            key = self._key(name, "record")
            logger.error("key %s is not a breaker's record; taken as closed", key, extra={"breaker": name})
        return Record(name=name, version=version)

    def tally(self, name: str, delta: Delta, window: Window, *, generation: int, worker: str) -> Totals:
        """See `Store.tally`."""
        seconds, micros, calls, failures, slow, streak, *seen = self._call(
            self._tally,
            self._key(name, "window"),
            [
                *(window.span, window.buckets, int(window.by_calls), generation, worker),
                *(delta.calls, delta.failures, delta.slow, delta.streak, int(delta.unbroken)),
                int(window_ttl(window)),
            ],
        )
        workers: dict[str, int] = {}
        for who, amount in zip(seen[::2], seen[1::2], strict=True):
            key = (who or b"").decode(errors="replace")
            workers[key] = workers.get(key, 0) + int(amount or 0)
        return Totals(
            now=_time(seconds, micros),
            calls=int(calls or 0),
            failures=int(failures or 0),
            slow=int(slow or 0),
            streak=int(streak or 0),
            workers=workers,
        )

    def swap(self, record: Record, *, expected: int) -> bool:
        """See `Store.swap`."""
        if expected == 0:  # before the record, so that no record goes unlisted
            self._command("SADD", f"{self._prefix}:names", record.name)
        return bool(self._call(self._swap, self._key(record.name, "record"), [expected, encode(record)]))

    def lease(self, key: str, holder: str, *, limit: int, ttl: float) -> Lease:
        """See `Store.lease`."""
        taken = self._call(self._lease, self._key(key, "lease"), [holder, limit, max(1, int(ttl * 1000))])
        return Lease(False, int(taken[0] or 0) / 1000) if taken else Lease(True)

    def release(self, key: str, holder: str) -> None:
        """See `Store.release`."""
        self._command("ZREM", self._key(key, "lease"), holder)

    def note(self, name: str, book: Book, entries: Sequence[str]) -> None:
        """See `Store.note`."""
        self._call(self._note, self._key(name, str(book)), [book.keep, int(JOURNAL_TTL), *entries])

    def notes(self, name: str, book: Book) -> list[str]:
        """See `Store.notes`."""
        try:
            found = cast("list[bytes]", self._command("LRANGE", self._key(name, str(book)), "0", str(book.keep - 1)))
        except StoreError as exc:
            if "WRONGTYPE" not in str(exc):
                raise
            found = []  # somebody else's; the next note takes its place
        return [entry.decode("utf-8", "replace") for entry in found]

    def names(self) -> list[str]:
        """See `Store.names`."""
        members = cast("set[bytes]", self._command("SMEMBERS", f"{self._prefix}:names"))
        return [member.decode(errors="replace") for member in members]

    def forget(self, name: str) -> None:
        """See `Store.forget`."""
        # A window without its record would drop what a fresh one counts.
        for kind in (*map(str, Book), "window", "record"):
            self._command("DEL", self._key(name, kind))
        self._command("SREM", f"{self._prefix}:names", name)

    def now(self) -> float:
        """See `Store.now`."""
        seconds, micros = self._values([])
        return _time(seconds, micros)

    def close(self) -> None:
        """See `Store.close`."""
        self._client.close()

    def _values(self, keys: list[str]) -> list[bytes | None]:
        return self._answer(lambda: self._client.read(f"{self._prefix}:names", self._read.text, keys))

    def _command(self, *words: str) -> object:
        return self._answer(lambda: cast("object", self._client.execute(*words)))

    def _answer(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except FAILURES as exc:
            failure = StoreError(f"{self.url}: {self._target.censored(str(exc))}")
        raise failure  # out here, so that it has no context: redis-py may quote what it was given


class _Script:
    """A script's text, and the digest by which a server that has run it once knows it."""

    def __init__(self, name: str) -> None:
        self.text = resources.files("celery_breaker.stores").joinpath(f"{name}.lua").read_text()
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


def _time(seconds: bytes | None, micros: bytes | None) -> float:
    return int(seconds or 0) + int(micros or 0) / 1_000_000
