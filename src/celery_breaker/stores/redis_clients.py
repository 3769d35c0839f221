"""How the Redis store speaks to one server, to the master that sentinels know, or to the nodes of a cluster."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import parse_url
from redis.exceptions import (
    AskError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from celery_breaker.stores.redis_urls import Target

__all__ = ["FAILURES", "Client", "NoScriptError", "open_client"]

FAILURES = (RedisError, RedisClusterException, OSError, UnicodeError)
"""What redis-py raises; a host's name that no encoding takes is a `UnicodeError`."""

_BEFORE_6 = int(redis.__version__.split(".")[0]) < 6
"""redis-py counted a cluster's attempts apart from its `Retry`."""


class Client(Protocol):
    """Sends commands; thread-safe. Every method may raise what redis-py raises.

    Nothing is sent twice but what a node has refused: a command that was sent twice could count twice.
    """

    def execute(self, *words: Any) -> Any:
        """The reply to one command, whose keys share a hash slot."""
        ...

    def read(self, clock: str, script: str, keys: Sequence[str]) -> list[Any]:
        """Seconds and microseconds of the server that has the key ``clock``, and the values of these keys."""
        ...

    def close(self) -> None:
        """Give back connections; used again, it connects anew."""
        ...

    def abandon(self) -> None:
        """Make it fit to be collected in a forked child, where no lock of its pools may be waited for."""
        ...


def open_client(target: Target, *, timeout: float) -> Client:
    """A client of the target, which does not connect yet.

    Raises:
        TypeError: an option that no connection takes.
        ValueError: an option that has a value which cannot be.
    """
    settings = {**target.settings, **parse_url(target.plain)}  # type: ignore[no-untyped-call]
    for name in ("connection_class", *(("username", "password") if "credential_provider" in settings else ())):
        settings.pop(name, None)
    settings |= {"socket_timeout": timeout, "socket_connect_timeout": timeout, "health_check_interval": 25}
    settings |= {"decode_responses": False, "encoding": "utf-8", "retry": _once()}
    pool = _server_pool(target, settings)
    pool.make_connection()  # not connected yet: finds options that no connection takes
    if target.kind == "cluster":
        return _Cluster(target, settings)
    if target.kind == "sentinel":
        return _Sentinel(target, settings, timeout=timeout)
    return _Server(_server_pool(target, settings))


def _once() -> Retry:
    return Retry(NoBackoff(), 0)  # an outage is the fallback's business


def _server_pool(target: Target, settings: dict[str, Any]) -> redis.ConnectionPool:
    kind: Any = redis.SSLConnection if target.tls else redis.Connection
    if "path" in settings:
        kind = redis.UnixDomainSocketConnection
        settings = {key: value for key, value in settings.items() if key != "socket_connect_timeout"}
    return redis.ConnectionPool(connection_class=kind, **settings)


class _Server:
    """One server, or whoever the pool connects to."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self.client = redis.Redis(connection_pool=pool)  # does not close the pool when it is collected

    def execute(self, *words: Any) -> Any:
        """See `Client.execute`. Who turns out to be a replica now is left, for the next call to find the master."""
        try:
            return self.client.execute_command(*words)  # type: ignore[no-untyped-call]
        except ResponseError as exc:
            if isinstance(exc, ReadOnlyError) or "READONLY" in str(
                exc
            ):  # within a script's error, it is like any other
                self.client.connection_pool.disconnect()
            raise

    def read(self, clock: str, script: str, keys: Sequence[str]) -> list[Any]:
        """See `Client.read`; one round trip."""
        return list(self.execute("EVAL", script, len(keys), *keys))

    def close(self) -> None:
        """See `Client.close`."""
        self.client.connection_pool.disconnect()

    def abandon(self) -> None:
        """See `Client.abandon`; its pool closes nothing."""


class _Sentinel(_Server):
    """The server that the sentinels name when a connection is made."""

    def __init__(self, target: Target, settings: dict[str, Any], *, timeout: float) -> None:
        theirs: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": _once()}
        self._sentinels = Sentinel([], min_other_sentinels=target.min_other_sentinels)  # type: ignore[no-untyped-call]
        watchers: list[redis.Redis] = [
            _Watcher(host, port, **{**target.sentinel_kwargs, **theirs}) for host, port in target.nodes
        ]
        self._sentinels.sentinels = watchers
        settings = {key: value for key, value in settings.items() if key not in ("host", "port")}
        super().__init__(
            SentinelConnectionPool(target.master_name, self._sentinels, ssl=target.tls, **settings)  # type: ignore[no-untyped-call]
        )

    def close(self) -> None:
        """See `Client.close`."""
        super().close()
        for sentinel in self._sentinels.sentinels:
            sentinel.close()

    def abandon(self) -> None:
        """See `Client.abandon`."""
        for sentinel in self._sentinels.sentinels:
            sentinel.auto_close_connection_pool = False


class _Watcher(redis.Redis):
    """A sentinel. The error of one that does not answer shows it, and some versions of redis-py all its arguments."""

    def __repr__(self) -> str:
        return "{host}:{port}".format_map(self.connection_pool.connection_kwargs)


class _Cluster:
    """The nodes of a cluster; which has what, they say at the first use and whenever it has moved."""

    def __init__(self, target: Target, settings: dict[str, Any]) -> None:
        self._target = target
        left_out = ("host", "port", "db", "retry", "health_check_interval")
        self._settings = {key: value for key, value in settings.items() if key not in left_out}
        self._lock = threading.Lock()
        self._cluster: Any = None  # redis-py leaves most of it untyped

    def _connected(self) -> Any:
        cluster = self._cluster
        if cluster is None:
            made = self._connect()
            with self._lock:
                cluster = self._cluster = self._cluster or made
            if cluster is not made:
                made.close()
        return cluster

    def _connect(self) -> Any:
        once: dict[str, Any] = {"cluster_error_retry_attempts": 0} if _BEFORE_6 else {"retry": _once()}
        return RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in self._target.nodes],  # type: ignore[no-untyped-call]
            require_full_coverage=False,  # the cluster's own business
            ssl=self._target.tls,
            **once,
            **self._settings,
        )

    def execute(self, *words: Any) -> Any:
        """See `Client.execute`; goes to the node of the key."""
        return self._connected().execute_command(*words)

    def read(self, clock: str, script: str, keys: Sequence[str]) -> list[Any]:
        """See `Client.read`; one round trip for each node."""
        cluster = self._connected()
        commands: list[tuple[Any, ...]] = [("EVAL", script, 1, clock), *(("GET", key) for key in keys)]
        replies: list[Any] = [None] * len(commands)
        for node, places in self._by_node(cluster, [clock, *keys]):
            pipeline = cluster.get_redis_connection(node).pipeline(transaction=False)
            for place in places:
                pipeline.execute_command(*commands[place])
            for place, reply in zip(places, self._sent(cluster, node, pipeline), strict=True):
                replies[place] = reply
        if any(isinstance(reply, MovedError) for reply in replies):
            cluster.nodes_manager.initialize()
        for place, reply in enumerate(replies):
            if isinstance(reply, (AskError, TryAgainError)):  # which `MovedError` is too; it was not executed
                replies[place] = _reply(cluster, commands[place])
        seconds, micros = _checked(replies[0])[:2]
        return [seconds, micros, *map(_checked, replies[1:])]

    def _by_node(self, cluster: Any, keys: Sequence[str]) -> list[tuple[Any, list[int]]]:
        found: dict[str, tuple[Any, list[int]]] = {}
        for place, key in enumerate(keys):
            node = cluster.get_node_from_key(key)
            found.setdefault(node.name, (node, []))[1].append(place)
        return list(found.values())

    def _sent(self, cluster: Any, node: Any, pipeline: Any) -> list[Any]:
        try:
            return list(pipeline.execute(raise_on_error=False))
        except (redis.ConnectionError, redis.TimeoutError):
            self._ask_others(cluster.nodes_manager, node)  # it may have been replaced
            raise

    def _ask_others(self, manager: Any, node: Any) -> None:
        """Learn anew who has what, but not from this node: it would cost its timeout a second time."""
        left_out = manager.startup_nodes.pop(node.name, None)
        try:
            if manager.startup_nodes:
                manager.initialize()
        finally:
            if left_out is not None:
                manager.startup_nodes.setdefault(node.name, left_out)

    def close(self) -> None:
        """See `Client.close`."""
        with self._lock:
            cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.close()

    def abandon(self) -> None:
        """See `Client.abandon`."""
        if (cluster := self._cluster) is not None:
            cluster.__dict__["close"] = lambda: None
            for node in list(cluster.nodes_manager.nodes_cache.values()):
                if node.redis_connection is not None:
                    node.redis_connection.auto_close_connection_pool = False


def _reply(cluster: Any, command: Sequence[Any]) -> Any:
    try:
        return cluster.execute_command(*command)
    except RedisError as exc:
        return exc


def _checked(reply: Any) -> Any:
    """The reply; what is no string is no record, just as MGET has it."""
    if isinstance(reply, ResponseError) and str(reply).startswith("WRONGTYPE"):
        return None
    if isinstance(reply, Exception):
        raise reply
    return reply
