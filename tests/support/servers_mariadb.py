"""MariaDB of our own: `mariadb_server` for the session, `make_mariadb` for one that a test may kill or freeze."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Process, free_port
from tests.support.servers import missing, numbers, server_path, started
from tests.support.waiting import eventually

USER, PASSWORD = "breaker", "my-pass:word"
_QUOTED = "my-pass%3Aword"
DATABASE = "breaker"

_INIT = f"""
CREATE DATABASE IF NOT EXISTS {DATABASE};
CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%' WITH GRANT OPTION;
"""


class MariaDBServer(Process):
    """A MariaDB with a data directory of its own. `args` are further options of `mariadbd`.

    Character set and collation are those of Debian's package, by which 'a' and 'A' are the same text.
    """

    def __init__(self, folder: Path, *args: str, executable: str, installer: str) -> None:
        self.port = free_port()
        self.data = folder / "data"
        self._installer = installer
        (folder / "init.sql").write_text(_INIT)
        self._user = ["--user=root"] if os.getuid() == 0 else []  # else it refuses to run as root
        argv = [executable, "--no-defaults", *self._user]
        argv += [f"--datadir={self.data}", f"--socket={self.data}/s", f"--pid-file={self.data}/pid"]
        argv += ["--bind-address=127.0.0.1", f"--port={self.port}", f"--init-file={folder / 'init.sql'}"]
        argv += ["--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci", "--skip-name-resolve"]
        argv += ["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M", "--max-connections=200"]
        argv += ["--innodb-flush-log-at-trx-commit=2", "--innodb-doublewrite=0", "--performance-schema=0", *args]
        super().__init__(argv, name=f"mariadb-{next(numbers)}", log=folder / "mariadb.log", cwd=folder)

    @property
    def url(self) -> str:
        return self.url_for(DATABASE)

    def url_for(self, database: str) -> str:
        return f"mysql+pymysql://{USER}:{_QUOTED}@127.0.0.1:{self.port}/{database}"

    @property
    def django(self) -> dict[str, Any]:
        return self.django_for(DATABASE)

    def django_for(self, database: str) -> dict[str, Any]:
        """An entry of Django's `DATABASES`; PyMySQL has to stand in for MySQLdb, see `pymysql.install_as_MySQLdb`."""
        return {
            "ENGINE": "django.db.backends.mysql",
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

    def execute(self, statement: str, database: str = DATABASE) -> None:
        """One statement, committed at once."""
        import pymysql

        parts: dict[str, Any] = {"host": "127.0.0.1", "port": self.port, "user": USER, "password": PASSWORD}
        with contextlib.closing(
            pymysql.connect(**parts, database=database, connect_timeout=2, autocommit=True)
        ) as connection:
            connection.cursor().execute(statement)

    def start(self, timeout: float = 30.0) -> None:
        """Start, and return once it answers."""
        if not self.data.exists():
            self._initialize()
        super().start()
        eventually(self._answers, lambda: f"{self.name} should answer; its log ends:\n{self.tail()}", timeout=timeout)

    def _initialize(self) -> None:
        argv = [self._installer, "--no-defaults", f"--datadir={self.data}", *self._user, "--skip-test-db"]
        argv += ["--auth-root-authentication-method=normal", "--skip-name-resolve", "--innodb-log-file-size=16M"]
        with self.log_path.open("ab") as log:
            subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.data.parent)

    def _answers(self) -> bool:
        import pymysql

        if not self.running:
            raise RuntimeError(f"{self.name} ended at start:\n{self.tail()}")
        try:
            self.execute("SELECT 1")
        except pymysql.OperationalError:  # `pymysql.err` is replaced once Django took it for MySQLdb
            return False
        return True


def mariadb_executables() -> tuple[str, str]:
    """`mariadbd`, and what lays out its data directory."""
    server, installer = (shutil.which(name, path=server_path()) for name in ("mariadbd", "mariadb-install-db"))
    if server is None or installer is None:
        missing("mariadb-server")
    return server, installer


def new_mariadb(folder: Path, *args: str) -> MariaDBServer:
    """A started MariaDB; the caller kills it."""
    executable, installer = mariadb_executables()
    return started(MariaDBServer(folder, *args, executable=executable, installer=installer))


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDBServer]:
    server = new_mariadb(tmp_path_factory.mktemp("mariadb"))
    yield server
    server.kill()


@pytest.fixture
def make_mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., MariaDBServer]]:
    """`make_mariadb(*args)` → a running MariaDB of the test's own (a start takes some seconds)."""
    with ExitStack() as stack:

        def make(*args: str) -> MariaDBServer:
            server = new_mariadb(tmp_path_factory.mktemp("mariadb"), *args)
            stack.callback(server.kill)
            return server

        yield make
