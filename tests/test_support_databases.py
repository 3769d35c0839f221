from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.processes import Process
from tests.support.servers_mariadb import MariaDBServer
from tests.support.servers_memcached import MemcachedServer
from tests.support.servers_postgres import PostgresServer
from tests.support.waiting import eventually


def rows(server: Any, table: str) -> int:
    """How many rows there are, as a client of its own finds."""
    if isinstance(server, PostgresServer):
        psycopg = pytest.importorskip("psycopg")
        connect: Any = contextlib.closing(psycopg.connect(server.url.replace("+psycopg", "")))
    else:
        pymysql = pytest.importorskip("pymysql")
        parts = server.django
        options = {"host": parts["HOST"], "port": server.port, "user": parts["USER"], "password": parts["PASSWORD"]}
        connect = contextlib.closing(pymysql.connect(**options, database=parts["NAME"]))
    with connect as connection:
        cursor = connection.cursor()
        cursor.execute(f"SELECT count(*) FROM {table}")
        return int(cursor.fetchone()[0])


def segments() -> set[str]:
    """Ids of the shared memory of System V that there is."""
    return {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


@pytest.mark.parametrize("maker", ["make_postgres", "make_mariadb"])
def test_a_killed_database_comes_back_with_its_data(maker: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(maker)()
    server.execute("CREATE TABLE t (x INTEGER)")
    server.execute("INSERT INTO t VALUES (1)")
    family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    server.kill()
    assert not any(process.is_running() for process in family)
    server.start()
    assert rows(server, "t") == 1


@pytest.mark.parametrize("maker", ["make_postgres", "make_mariadb", "make_memcached"])
def test_a_frozen_database_keeps_its_clients_waiting(maker: str, request: pytest.FixtureRequest) -> None:
    server: Process = request.getfixturevalue(maker)()
    server.pause()
    leader = psutil.Process(server.pid)
    everyone = [leader, *leader.children(recursive=True)]

    def states() -> set[str]:
        """Of those that have not ended by themselves meanwhile, as PostgreSQL's helpers do."""
        running = [process for process in everyone if process.is_running()]
        with contextlib.suppress(psutil.NoSuchProcess):
            return {process.status() for process in running} - {psutil.STATUS_ZOMBIE}
        return set()  # one has ended just now: look again

    eventually(lambda: states() == {psutil.STATUS_STOPPED}, "all should stand still")
    server.resume()
    eventually(lambda: (found := states()) and psutil.STATUS_STOPPED not in found, "all should go on")


def test_databases_of_one_server_are_apart(postgres_server: PostgresServer, mariadb_server: MariaDBServer) -> None:
    for server in (postgres_server, mariadb_server):
        first, second = server.add_database(), server.add_database()
        for name in (first, second):
            server.execute("CREATE TABLE t (x INTEGER)", name)


def test_memcached_ends_with_its_test(make_memcached: Callable[..., MemcachedServer]) -> None:
    server = make_memcached()
    assert server.command("version").startswith("VERSION")
    server.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_postgres_leaves_neither_files_nor_shared_memory(make_postgres: Callable[..., PostgresServer]) -> None:
    server = make_postgres()
    segment = (server.data / "postmaster.pid").read_text().splitlines()[6].split()[1]
    server.kill()
    assert segment in segments()
    server.remove()
    assert segment not in segments()
    assert not server.data.exists()
