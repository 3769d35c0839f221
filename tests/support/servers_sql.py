"""What servers of SQL have in common: databases, and how SQLAlchemy and Django are told of them."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar
from urllib.parse import quote

from tests.support.servers import Server, numbers


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
        with contextlib.closing(self._connect(database or self.database)) as connection:
            connection.cursor().execute(statement)

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
