"""PostgreSQL of our own: `postgres_server` for the session, `make_postgres` for one that a test may kill or freeze."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.processes import free_port
from tests.support.servers import lent, maker, missing, numbers, server_path, started
from tests.support.servers_sql import SQLServer

_SETTINGS = {  # what is written survives a kill, but not the loss of the machine
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # its path could be longer than sockets allow
}


class PostgresServer(SQLServer):
    """A PostgreSQL with a cluster of its own. `settings` are further configuration parameters.

    It refuses to run as root, so that there it runs as `nobody`, who could not reach a folder inside pytest's own.
    """

    scheme = "postgresql+psycopg"
    engine = "django.db.backends.postgresql"
    database = "postgres"
    password = "pg-pass:word"
    listing = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ending = "SELECT pg_terminate_backend({})"

    def __init__(self, folder: Path, *, bin_folder: Path, settings: Mapping[str, str]) -> None:
        self.port = free_port()
        as_root = os.getuid() == 0
        self.data = Path(tempfile.mkdtemp(prefix="breaker-postgres-")) / "data" if as_root else folder / "data"
        self.data.mkdir(mode=0o700)
        if as_root:
            for path in (self.data.parent, self.data):
                shutil.chown(path, "nobody")
        self._bin = bin_folder
        options = [f"--{name}={value}" for name, value in {**_SETTINGS, **settings}.items()]
        argv = [str(bin_folder / "postgres"), "-D", str(self.data), "-p", str(self.port), *options]
        super().__init__(
            argv,
            name=f"postgres-{next(numbers)}",
            log=folder / "postgres.log",
            cwd=self.data,
            user="nobody" if as_root else None,
        )

    def start(self, timeout: float = 60.0) -> None:
        if not (self.data / "PG_VERSION").exists():
            self._initialize()
        super().start(timeout)

    def _initialize(self) -> None:
        secret = self.data.parent / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)
        argv = [self._bin / "initdb", "--pgdata", self.data, "--username", self.login, "--pwfile", secret]
        argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        with self.log_path.open("ab") as log:
            subprocess.run(
                argv,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.data.parent,
                user=self.user,
                extra_groups=[] if self.user else None,
            )

    def _connect(self, database: str) -> Any:
        import psycopg

        parts: dict[str, Any] = {"host": "127.0.0.1", "port": self.port, "user": self.login, "password": self.password}
        return psycopg.connect(**parts, dbname=database, connect_timeout=2, autocommit=True)

    @property
    def _refusal(self) -> type[Exception]:
        import psycopg

        return psycopg.OperationalError

    def _family(self) -> list[psutil.Process]:
        """With the processes that serve its clients."""
        [leader] = super()._family()
        return [leader, *leader.children(recursive=True)]

    def stop(self, timeout: float = 15.0) -> int | None:
        """Shut down without waiting for clients to leave, which SIGTERM would."""
        self.resume()
        self.signal(signal.SIGINT)
        return super().stop(timeout)

    def kill(self) -> None:
        """SIGKILL; its children, each in a session of its own, notice and end."""
        children = psutil.Process(self.pid).children(recursive=True) if self.running else []
        self.resume()
        super().kill()
        _, alive = psutil.wait_procs(children, timeout=5)
        for child in alive:
            child.kill()

    def remove(self) -> None:
        """End it in order, or else its shared memory would stay, and remove what it kept."""
        if self.running:
            self.stop()
        lock = self.data / "postmaster.pid"
        if lock.exists() and len(lines := lock.read_text().splitlines()) > 6:
            subprocess.run(["ipcrm", "--shmem-id", lines[6].split()[1]], check=False, capture_output=True)
        shutil.rmtree(self.data.parent if self.user else self.data, ignore_errors=True)


def postgres_folder() -> Path:
    """Where `initdb` and `postgres` are: Debian keeps them off PATH, a folder for each release."""
    found = shutil.which("postgres", path=server_path())
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if found:
        return Path(found).resolve().parent
    if not folders:
        missing("postgresql")
    return folders[-1].parent


def new_postgres(folder: Path, **settings: str) -> PostgresServer:
    """A started PostgreSQL; the caller calls `remove`."""
    return started(PostgresServer(folder, bin_folder=postgres_folder(), settings=settings))


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    yield from lent(new_postgres, tmp_path_factory, "postgres")


@pytest.fixture
def make_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., PostgresServer]]:
    """`make_postgres(**settings)` → a running PostgreSQL of the test's own."""
    yield from maker(new_postgres, tmp_path_factory, "postgres")
