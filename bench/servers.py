"""Servers of the benchmarks' own: on free ports, in folders that go away with them, ended by pid."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import pytest

from tests.support.servers import (
    RabbitMQServer,
    RedisServer,
    Server,
    new_rabbitmq,
    new_redis,
    rabbitmq_executables,
    redis_executable,
)
from tests.support.servers_mariadb import MariaDBServer, new_mariadb
from tests.support.servers_memcached import MemcachedServer, new_memcached
from tests.support.servers_postgres import PostgresServer, new_postgres

S = TypeVar("S", bound=Server)


class MissingServer(Exception):
    """A server that a row needs is not installed; the text says which."""


@contextmanager
def _missing_is_an_error() -> Iterator[None]:
    """The tests' helpers skip or fail a test where a server is missing; there is no test here."""
    try:
        yield
    except (pytest.skip.Exception, pytest.fail.Exception) as exc:
        raise MissingServer(str(exc)) from exc


def redis_path() -> str:
    """The `redis-server` in use. Raises `MissingServer`."""
    with _missing_is_an_error():
        return redis_executable()


def rabbitmq_path() -> str:
    """The `rabbitmq-server` in use. Raises `MissingServer`."""
    with _missing_is_an_error():
        return rabbitmq_executables()[0]


class Servers:
    """Starts servers for the length of a ``with`` block."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._numbers = itertools.count(1)

    def __enter__(self) -> Servers:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="celery-breaker-bench-")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def new_folder(self, name: str) -> Path:
        """A fresh folder."""
        folder = self.folder / f"{name}-{next(self._numbers)}"
        folder.mkdir()
        return folder

    def redis(self, *args: str) -> RedisServer:
        """A Redis that keeps nothing on disk. Raises `MissingServer`."""
        return self._kept(lambda: new_redis(self.new_folder("redis"), *args))

    def rabbitmq(self) -> RabbitMQServer:
        """A RabbitMQ. Raises `MissingServer`."""
        return self._kept(lambda: new_rabbitmq(self.new_folder("rabbitmq")))

    def memcached(self) -> MemcachedServer:
        """A memcached. Raises `MissingServer`."""
        return self._kept(lambda: new_memcached(self.new_folder("memcached")))

    def postgres(self) -> PostgresServer:
        """A PostgreSQL that flushes each commit to the disk, as it does by default. Raises `MissingServer`."""
        return self._kept(lambda: new_postgres(self.new_folder("postgres"), fsync="on"))

    def mariadb(self) -> MariaDBServer:
        """A MariaDB that flushes each commit to the disk, as it does by default. Raises `MissingServer`."""
        return self._kept(lambda: new_mariadb(self.new_folder("mariadb"), "--innodb-flush-log-at-trx-commit=1"))

    def _kept(self, start: Callable[[], S]) -> S:
        with _missing_is_an_error():
            server = start()
        self._stack.callback(server.remove)
        return server
