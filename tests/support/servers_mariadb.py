"""MariaDB of our own: `mariadb_server` for the session, `make_mariadb` for one that a test may kill or freeze."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import free_port
from tests.support.servers import lent, maker, missing, numbers, server_path, started
from tests.support.servers_sql import SQLServer

_INIT = """
CREATE DATABASE IF NOT EXISTS {database};
CREATE USER IF NOT EXISTS '{login}'@'%' IDENTIFIED BY '{password}';
GRANT ALL PRIVILEGES ON *.* TO '{login}'@'%' WITH GRANT OPTION;
"""


class MariaDBServer(SQLServer):
    """A MariaDB with a data directory of its own. `args` are further options of `mariadbd`.

    Character set and collation are those of Debian's package, by which 'a' and 'A' are the same text. For Django,
    PyMySQL has to stand in for MySQLdb, see `pymysql.install_as_MySQLdb`.
    """

    scheme = "mysql+pymysql"
    engine = "django.db.backends.mysql"
    database = "breaker"
    password = "my-pass:word"
    listing = "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
    ending = "KILL {}"

    def __init__(self, folder: Path, *args: str, executable: str, installer: str) -> None:
        self.port = free_port()
        self.data = folder / "data"
        self._installer = installer
        init = _INIT.format(database=self.database, login=self.login, password=self.password)
        (folder / "init.sql").write_text(init)
        self._user = ["--user=root"] if os.getuid() == 0 else []  # else it refuses to run as root
        argv = [executable, "--no-defaults", *self._user]
        argv += [f"--datadir={self.data}", f"--socket={self.data}/s", f"--pid-file={self.data}/pid"]
        argv += ["--bind-address=127.0.0.1", f"--port={self.port}", f"--init-file={folder / 'init.sql'}"]
        argv += ["--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci", "--skip-name-resolve"]
        argv += ["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M", "--max-connections=200"]
        argv += ["--innodb-flush-log-at-trx-commit=2", "--innodb-doublewrite=0", "--performance-schema=0", *args]
        super().__init__(argv, name=f"mariadb-{next(numbers)}", log=folder / "mariadb.log", cwd=folder)

    def start(self, timeout: float = 60.0) -> None:
        if not self.data.exists():
            self._initialize()
        super().start(timeout)

    def _initialize(self) -> None:
        argv = [self._installer, "--no-defaults", f"--datadir={self.data}", *self._user, "--skip-test-db"]
        argv += ["--auth-root-authentication-method=normal", "--skip-name-resolve", "--innodb-log-file-size=16M"]
        with self.log_path.open("ab") as log:
            subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.data.parent)

    def _connect(self, database: str) -> Any:
        import pymysql

        parts: dict[str, Any] = {"host": "127.0.0.1", "port": self.port, "user": self.login, "password": self.password}
        return pymysql.connect(**parts, database=database, connect_timeout=2, autocommit=True)

    @property
    def _refusal(self) -> type[Exception]:
        import pymysql

        return pymysql.OperationalError  # `pymysql.err` is replaced once Django took it for MySQLdb


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
    yield from lent(new_mariadb, tmp_path_factory, "mariadb")


@pytest.fixture
def make_mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., MariaDBServer]]:
    """`make_mariadb(*args)` → a running MariaDB of the test's own (a start takes some seconds)."""
    yield from maker(new_mariadb, tmp_path_factory, "mariadb")
