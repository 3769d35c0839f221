"""memcached of our own: `memcached_server` for the session, `make_memcached` for one that a test may kill or freeze."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.processes import free_port
from tests.support.servers import Server, lent, maker, missing, numbers, server_path, started


class MemcachedServer(Server):
    """A `memcached`. `args` are further options, such as `"-m", "8"`. Started anew, it is empty."""

    def __init__(self, folder: Path, *args: str, executable: str) -> None:
        self.port = free_port()
        argv = [executable, "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", *args]
        # Its own `-u` would change user after the start, which undoes that it ends with its parent.
        user = "nobody" if os.getuid() == 0 else None
        super().__init__(argv, name=f"memcached-{next(numbers)}", log=folder / "memcached.log", cwd=folder, user=user)

    @property
    def url(self) -> str:
        return f"memcached://127.0.0.1:{self.port}"

    def command(self, line: str) -> str:
        """One command of the text protocol that has a one-line answer, such as `flush_all`; the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as sock, sock.makefile("rwb") as stream:
            stream.write(line.encode() + b"\r\n")
            stream.flush()
            return stream.readline().decode().strip()

    def _answers(self) -> bool:
        try:
            return self.command("version").startswith("VERSION")
        except OSError:
            return False


def new_memcached(folder: Path, *args: str) -> MemcachedServer:
    """A started memcached; the caller kills it."""
    executable = shutil.which("memcached", path=server_path())
    if executable is None:
        missing("memcached")
    return started(MemcachedServer(folder, *args, executable=executable))


@pytest.fixture(scope="session")
def memcached_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemcachedServer]:
    yield from lent(new_memcached, tmp_path_factory, "memcached")


@pytest.fixture
def make_memcached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., MemcachedServer]]:
    """`make_memcached(*args)` → a running memcached of the test's own."""
    yield from maker(new_memcached, tmp_path_factory, "memcached")
