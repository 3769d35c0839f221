"""The memcached store: written by compare-and-set, on the time of the servers."""

from __future__ import annotations

import hashlib
import select
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pymemcache.client.base import Client, PooledClient  # type: ignore[import-untyped]

from celery_breaker.errors import StoreError
from celery_breaker.stores.cas import CasStore
from celery_breaker.stores.memcached_forms import servers_in
from celery_breaker.stores.memcached_values import MemcachedValues

__all__ = ["MemcachedStore"]


class MemcachedStore(CasStore):
    """A `Store` on one memcached or several. Thread-safe; survives restarts, evictions and forks.

    What memcached evicts, or loses with a restart, stands as a fresh, closed breaker; a process that still knows better
    writes it back. Who finds nothing of a breaker that is listed says so once.

    Time is the machine's own, as long as it fits what memcached tells (in whole seconds); else the nearest that fits,
    so machines agree to a few seconds however wrong their clocks are. All servers are needed: which one keeps a value
    does not change when one is away.

    Args:
        url: ``memcached://host:port,host:port``, also with ``;`` and ``cache+`` as Celery writes it, or the path of a
            Unix socket. The order does not matter; the set must be the same for all.
        prefix: first part of every key.
        timeout: seconds that one round trip, or a connection attempt, may take.

    Raises:
        ValueError: the URL cannot be understood.
        StoreError: from every method, when a server cannot be reached or fails.

    Example:
        >>> MemcachedStore("cache+memcached://cache-2:11211;cache-1:11211/").url
        'memcached://cache-1:11211,cache-2:11211'
    """

    def __init__(self, url: str, *, prefix: str = "celery-breaker", timeout: float = 1.0) -> None:
        places = servers_in(url)
        super().__init__(MemcachedValues(lambda: [_Server(place, timeout) for place in places], prefix=prefix))


class _Connection(Client):  # type: ignore[misc]  # pymemcache has no types
    """One that is dropped, and made anew, if the server closed it while it lay idle; tries each address of a host."""

    server: tuple[str, int] | str
    sock: socket.socket | None
    timeout: float

    def _connect(self) -> None:
        if isinstance(self.server, str):
            super()._connect()
            return
        host, port = place = self.server
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        self.connect_timeout = self.timeout / len(addresses)
        try:
            for left, (*_, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
                self.server = str(address[0]), port
                try:
                    super()._connect()
                    return
                except OSError:
                    if left == 1:
                        raise
        finally:
            self.server = place

    def _drop_if_closed(self) -> None:
        if self.sock is not None and _readable(self.sock):
            self.close()

    def _fetch_cmd(self, *args: Any, **options: Any) -> Any:
        self._drop_if_closed()
        return super()._fetch_cmd(*args, **options)

    def _store_cmd(self, *args: Any, **options: Any) -> Any:
        self._drop_if_closed()
        return super()._store_cmd(*args, **options)

    def _misc_cmd(self, *args: Any, **options: Any) -> Any:
        self._drop_if_closed()
        return super()._misc_cmd(*args, **options)


def _readable(sock: socket.socket) -> bool:
    """Whether there is something to read, which between two requests can only be the end."""
    if not hasattr(select, "poll"):  # eventlet takes it away
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


class _Server:
    """Implements `Server`: one memcached and the connections to it."""

    def __init__(self, place: tuple[str, int] | str, timeout: float) -> None:
        host, port = place if isinstance(place, tuple) else (place, None)
        self.name = host if port is None else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._pool = PooledClient(place, timeout=timeout, connect_timeout=timeout, no_delay=True, default_noreply=False)
        self._pool.client_class = _Connection

    def weight(self, place: str) -> bytes:
        """See `Server.weight`."""
        return hashlib.blake2b(f"{self.name} {place}".encode()).digest()

    def gets(self, places: Sequence[str]) -> Mapping[str, tuple[bytes, int]]:
        """See `Server.gets`."""
        with self._failing():
            found: dict[Any, tuple[Any, Any]] = self._pool.gets_many(places)
            return {place: (data, int(token)) for place, (data, token) in found.items()}

    def write(self, place: str, data: bytes, *, token: int | None, expire: int) -> bool:
        """See `Server.write`."""
        with self._failing():
            if token is None:
                return bool(self._pool.add(place, data, expire=expire, noreply=False))
            return bool(self._pool.cas(place, data, str(token), expire=expire, noreply=False))

    def delete(self, place: str) -> None:
        """See `Server.delete`."""
        with self._failing():
            self._pool.delete(place, noreply=False)

    def second(self) -> int:
        """See `Server.second`."""
        with self._failing():
            return int(self._pool.stats()[b"time"])

    def version(self) -> object:
        """See `Server.version`."""
        with self._failing():
            return self._pool.version()

    def close(self) -> None:
        """See `Server.close`."""
        self._pool.close()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except Exception as exc:  # what pymemcache makes of a garbled answer may be anything
            said = str(exc.args[0].decode(errors="replace") if exc.args and isinstance(exc.args[0], bytes) else exc)
            if "too large" in said:
                said += "; let it take more, like memcached -I 8m"
            raise StoreError(f"memcached at {self.name}: {said or type(exc).__name__}") from exc
