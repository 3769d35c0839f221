"""PostgreSQL of our own: `postgres_server` for the session, `make_postgres` for one that a test may kill or freeze."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.processes import Process, free_port
from tests.support.servers import missing, numbers, server_path, started
from tests.support.waiting import eventually

USER, PASSWORD = "breaker", "pg-pass:word"
_QUOTED = "pg-pass%3Aword"

_SETTINGS = {  # what is written survives a kill, but not the loss of the machine
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # its path could be longer than sockets allow
}


class PostgresServer(Process):
    """A PostgreSQL with a cluster of its own. `settings` are further configuration parameters.

    It refuses to run as root, so that there it runs as `nobody`, who could not reach a folder inside pytest's own.
    """

    def __init__(self, folder: Path, *, bin_folder: Path, settings: dict[str, str] | None = None) -> None:
        self.port = free_port()
        as_root = os.getuid() == 0
        self.data = Path(tempfile.mkdtemp(prefix="breaker-postgres-")) / "data" if as_root else folder / "data"
        self.data.mkdir(mode=0o700)
        if as_root:
            for path in (self.data.parent, self.data):
                shutil.chown(path, "nobody")
        self._bin = bin_folder
        options = [f"--{name}={value}" for name, value in {**_SETTINGS, **(settings or {})}.items()]
        argv = [str(bin_folder / "postgres"), "-D", str(self.data), "-p", str(self.port), *options]
        super().__init__(
            argv,
            name=f"postgres-{next(numbers)}",
            log=folder / "postgres.log",
            cwd=self.data,
            user="nobody" if as_root else None,
        )

    @property
    def url(self) -> str:
        return self.url_for("postgres")

    def url_for(self, database: str) -> str:
        return f"postgresql+psycopg://{USER}:{_QUOTED}@127.0.0.1:{self.port}/{database}"

    @property
    def django(self) -> dict[str, Any]:
        return self.django_for("postgres")

    def django_for(self, database: str) -> dict[str, Any]:
        """An entry of Django's `DATABASES`."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": database,
            "USER": USER,
            "PASSWORD": PASSWORD,
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
        }

    def add_database(self) -> str:
        """The name of a new, empty database."""
        name = f"breaker_{next(numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def execute(self, statement: str, database: str = "postgres") -> None:
        """One statement, outside any transaction."""
        import psycopg

        parts = {"host": "127.0.0.1", "port": self.port, "user": USER, "password": PASSWORD, "dbname": database}
        with contextlib.closing(psycopg.connect(**parts, connect_timeout=2, autocommit=True)) as connection:
            connection.execute(statement.encode())

    def start(self, timeout: float = 30.0) -> None:
        """Start, and return once it answers."""
        if not (self.data / "PG_VERSION").exists():
            self._initialize()
        super().start()
        eventually(self._answers, lambda: f"{self.name} should answer; its log ends:\n{self.tail()}", timeout=timeout)

    def _initialize(self) -> None:
        secret = self.data.parent / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        argv = [self._bin / "initdb", "--pgdata", self.data, "--username", USER, "--pwfile", secret]
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

    def _answers(self) -> bool:
        import psycopg

        if not self.running:
            raise RuntimeError(f"{self.name} ended at start:\n{self.tail()}")
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def pause(self) -> None:
        """Freeze it with the processes that serve its clients."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, signum: int) -> None:
        if not self.running:
            return
        for process in (leader := psutil.Process(self.pid), *leader.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signum)

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


def new_postgres(folder: Path, settings: dict[str, str] | None = None) -> PostgresServer:
    """A started PostgreSQL; the caller calls `remove`."""
    server = PostgresServer(folder, bin_folder=postgres_folder(), settings=settings)
    try:
        return started(server)
    except BaseException:
        server.remove()
        raise


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = new_postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.remove()


@pytest.fixture
def make_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., PostgresServer]]:
    """`make_postgres(**settings)` → a running PostgreSQL of the test's own."""
    with ExitStack() as stack:

        def make(**settings: str) -> PostgresServer:
            server = new_postgres(tmp_path_factory.mktemp("postgres"), settings)
            stack.callback(server.remove)
            return server

        yield make
