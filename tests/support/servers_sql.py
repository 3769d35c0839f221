"""What servers of SQL have in common: databases, and how SQLAlchemy and Django are told of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import quote

from tests.support.servers import Server, numbers
from tests.support.waiting import eventually


class SQLServer(Server):
    """A server of SQL with a user who may do everything."""

    scheme: ClassVar[str]
    """As SQLAlchemy spells it."""
    engine: ClassVar[str]
    """As Django does."""
    database: ClassVar[str]
    """The one that is there from the start."""
    login: ClassVar[str] = "breaker"
    password: ClassVar[str]
    listing: ClassVar[str]
    """What gives the numbers of the connections to a database, but for the one that asks."""
    ending: ClassVar[str]
    """What ends the one of a number."""

    @property
    def url(self) -> str:
        return self.url_for(self.database)

    def url_for(self, database: str) -> str:
        """SQLAlchemy's URL of a database."""
        return f"{self.scheme}://{self.login}:{quote(self.password)}@127.0.0.1:{self.port}/{database}"

    @property
    def django(self) -> dict[str, Any]:
        return self.django_for(self.database)

    def django_for(self, database: str) -> dict[str, Any]:
        """An entry of Django's `DATABASES`."""
        return {
            "ENGINE": self.engine,
            "NAME": database,
            "USER": self.login,
            "PASSWORD": self.password,
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
        }

    def add_database(self) -> str:
        """The name of a new, empty database."""
        name = f"breaker_{next(numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def execute(self, statement: str, database: str = "") -> None:
        """One statement, committed at once."""
        with self._cursor(database or self.database) as cursor:
            cursor.execute(statement)

    def clients(self, database: str) -> set[int]:
        """Numbers of the connections to this database."""
        with self._cursor(database) as cursor:
            cursor.execute(self.listing)
            return {int(number) for (number,) in cursor.fetchall()}

    def cut(self, database: str) -> None:
        """Have it end all connections to this database, as it does with those that were idle for long."""
        for number in self.clients(database):
            self.execute(self.ending.format(number))
        eventually(lambda: not self.clients(database))

    @contextlib.contextmanager
    def _cursor(self, database: str) -> Iterator[Any]:
        with contextlib.closing(self._connect(database)) as connection:
            yield connection.cursor()

    def _connect(self, database: str) -> Any:
        """The driver's connection, which commits each statement. Raises `_refusal` where the server is not there."""
        raise NotImplementedError

    @property
    def _refusal(self) -> type[Exception]:
        raise NotImplementedError

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except self._refusal:
            return False
        return True
