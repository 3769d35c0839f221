"""The Redis store (also Valkey): one round trip per call, on the server's clock."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from celery_breaker.core.lease import Lease
from celery_breaker.core.record import Record, decode, encode
from celery_breaker.core.windows import Delta, Totals, Window
from celery_breaker.errors import StoreError
from celery_breaker.stores.base import Snapshot

if TYPE_CHECKING:
    from redis.commands.core import Script

__all__ = ["RedisStore"]

logger = logging.getLogger(__name__)

_READ_AT_ONCE = 1000
"""Keys per script call, below Lua's limit on unpacked values."""

_MINIMUM_TTL = 3600
"""Seconds a window outlives its last call, at the least; count windows have no span in time."""


class RedisStore:
    """Implements `Store` on one Redis server. Thread-safe; survives ``SCRIPT FLUSH``, restarts and forks.

    Keys are ``PREFIX:{NAME}:record`` and ``:window``, one hash tag per breaker; leases are ``PREFIX:{KEY}:lease``.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, as redis-py understands it.
        prefix: first part of every key.
        timeout: seconds that a command, or a connection attempt, may take.

    Raises:
        StoreError: from every method, when the server cannot be reached or fails.
    """

    def __init__(self, url: str, *, prefix: str = "celery-breaker", timeout: float = 1.0) -> None:
        self.url = _without_credentials(url)
        self._prefix = prefix
        self._url, self._timeout = url, timeout
        self._inherited: list[redis.Redis] = []  # clients of before a fork, kept from being collected
        self._connect()
        self._client.connection_pool.make_connection()  # not connected yet: finds options that no connection takes
        self._unreadable: set[str] = set()

    def _connect(self) -> None:
        self._client = redis.Redis.from_url(
            self._url,
            socket_timeout=self._timeout,
            socket_connect_timeout=self._timeout,
            health_check_interval=25,
            retry=Retry(NoBackoff(), 0),  # a command sent twice could count twice; an outage is the fallback's business
        )
        self._read, self._tally, self._swap, self._lease = map(self._script, ("read", "tally", "swap", "lease"))

    def after_fork(self) -> None:
        """Start anew in a forked child: a thread of the parent may have held the pool's lock, now held for ever."""
        self._client.auto_close_connection_pool = False  # else its end would wait for that lock
        self._inherited.append(self._client)
        self._connect()

    def _script(self, name: str) -> Script:
        source = resources.files("celery_breaker.stores").joinpath(f"{name}.lua").read_text()
        return self._client.register_script(source)

    def _call(self, script: Script, keys: list[str], args: Sequence[str | int | float]) -> list[bytes | None]:
        try:
            try:
                return cast("list[bytes | None]", script(keys=keys, args=list(args)))
            except NoScriptError:  # flushed once more between its loading and its call
                text = cast("str", script.script)
                return cast("list[bytes | None]", self._client.eval(text, len(keys), *keys, *args))
        except RedisError as exc:
            raise StoreError(f"{self.url}: {exc}") from exc

    def _key(self, name: str, kind: str) -> str:
        return f"{self._prefix}:{{{name}}}:{kind}"

    def read(self, names: Iterable[str]) -> Snapshot:
        """See `Store.read`. What is no record is reported with its key and stands as a fresh, closed breaker."""
        wanted = list(names)
        records: dict[str, Record] = {}
        now = 0.0
        for start in range(0, max(len(wanted), 1), _READ_AT_ONCE):
            part = wanted[start : start + _READ_AT_ONCE]
            seconds, micros, *values = self._call(self._read, [self._key(name, "record") for name in part], [])
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
            logger.error("key %s is not a breaker's record; taken as closed", self._key(name, "record"))
        return Record(name=name, version=version)

    def tally(self, name: str, delta: Delta, window: Window, *, generation: int, worker: str) -> Totals:
        """See `Store.tally`."""
        ttl = _MINIMUM_TTL if window.by_calls else max(_MINIMUM_TTL, int(window.span * 2))
        seconds, micros, calls, failures, slow, streak, *seen = self._call(
            self._tally,
            [self._key(name, "window")],
            [
                *(window.span, window.buckets, int(window.by_calls), generation, worker),
                *(delta.calls, delta.failures, delta.slow, delta.streak, int(delta.unbroken), ttl),
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
        return bool(self._call(self._swap, [self._key(record.name, "record")], [expected, encode(record)]))

    def lease(self, key: str, holder: str, *, limit: int, ttl: float) -> Lease:
        """See `Store.lease`."""
        taken = self._call(self._lease, [self._key(key, "lease")], [holder, limit, max(1, int(ttl * 1000))])
        return Lease(False, int(taken[0] or 0) / 1000) if taken else Lease(True)

    def release(self, key: str, holder: str) -> None:
        """See `Store.release`."""
        self._command("ZREM", self._key(key, "lease"), holder)

    def names(self) -> list[str]:
        """See `Store.names`."""
        members = cast("set[bytes]", self._command("SMEMBERS", f"{self._prefix}:names"))
        return [member.decode(errors="replace") for member in members]

    def forget(self, name: str) -> None:
        """See `Store.forget`."""
        self._command("DEL", self._key(name, "record"), self._key(name, "window"))
        self._command("SREM", f"{self._prefix}:names", name)

    def now(self) -> float:
        """See `Store.now`."""
        seconds, micros = self._call(self._read, [], [])
        return _time(seconds, micros)

    def close(self) -> None:
        """See `Store.close`."""
        self._client.close()

    def _command(self, *words: str) -> object:
        try:
            return cast("object", self._client.execute_command(*words))  # type: ignore[no-untyped-call]
        except RedisError as exc:
            raise StoreError(f"{self.url}: {exc}") from exc


def _time(seconds: bytes | None, micros: bytes | None) -> float:
    return int(seconds or 0) + int(micros or 0) / 1_000_000


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
