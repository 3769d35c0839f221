"""The SQL store: PostgreSQL, MySQL, MariaDB and SQLite through SQLAlchemy."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.mysql import MEDIUMTEXT
from sqlalchemy.engine import URL, Connection, Dialect, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.schema import CreateTable

from celery_breaker.errors import ConfigurationError, StoreError
from celery_breaker.stores.cas import CasStore, Held, Key, Loaded
from celery_breaker.stores.deadlines import Deadlines, within
from celery_breaker.stores.sql_drivers import in_time, is_no_table, is_undone
from celery_breaker.stores.sqlite_forks import Gate

__all__ = ["SQLAlchemyStore", "metadata", "table"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

metadata = sa.MetaData()
"""Of `table` alone; for a migration's ``target_metadata``."""

_LONG = sa.Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")

table = sa.Table(
    "celery_breaker_values",
    metadata,
    # Databases differ in which names they take for equal (case, accents, blanks), and in how long a key may be.
    sa.Column("id", sa.String(64), primary_key=True, comment="SHA-256 of prefix, kind and name"),
    sa.Column("prefix", sa.Text, nullable=False),
    sa.Column("kind", sa.String(10), nullable=False, comment="record, window, lease, history or failures"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False, comment="a random number for each write"),
    sa.Column("value", _LONG, nullable=False),
    sa.Column("expires", sa.Double, comment="seconds since 1970; may be removed then"),
    mysql_charset="utf8mb4",
    mysql_engine="InnoDB",
    mariadb_charset="utf8mb4",
    mariadb_engine="InnoDB",
)
"""All that is kept. Made at first use if it is not there and the database's user may make it."""

_AT_ONCE = 500
"""Keys per query; SQLite took 999 variables for long."""

_SWEEP_EVERY = 600.0
"""Seconds between two sweeps of one process for what has run out."""

_CLOCKS: dict[str, Callable[[], sa.ColumnElement[Any]]] = {
    "postgresql": lambda: sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double),
    "mysql": lambda: sa.literal_column("TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) * 1e-6"),
    "mariadb": lambda: sa.literal_column("TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) * 1e-6"),
    "sqlite": lambda: sa.bindparam("clock", callable_=time.time, type_=sa.Double),  # its server is this machine
}


class SQLAlchemyStore(CasStore):
    """Implements `Store` on a table of a SQL database. Thread-safe; survives restarts of the server, and forks.

    The table ``celery_breaker_values`` is made at first use. Who makes tables by migrations adds ``metadata`` to
    Alembic's ``target_metadata`` (it takes a list), or calls ``metadata.create_all(engine)``; one that is there stays
    as it is.

    On libpq's drivers a statement's time limit travels in the start-up parameter ``options``, which a PgBouncer in
    between refuses unless its ``ignore_startup_parameters`` names it, and psycopg prepares statements, which some
    PgBouncers mix up. ``{"connect_args": {"options": "", "prepare_threshold": None}}`` as ``engine_options`` does
    without both.

    SQLite is switched to write-ahead logging, which is a property of the file.

    Args:
        url: as SQLAlchemy has it, also with Celery's ``db+`` in front; the driver must be a synchronous one.
        prefix: apps with prefixes of their own share a table, and nothing else.
        timeout: seconds that an operation on the database may take, connecting included. A tally, swap or lease is a
            reading and a writing, and more if others write the same value.
        engine_options: for ``sqlalchemy.create_engine``, all but ``isolation_level``; go before ours.

    Raises:
        ConfigurationError: the URL or an option cannot work, or the driver is not installed; does not connect yet.
        StoreError: from every method, when the database cannot be reached, fails, or does not answer in time.

    Example:
        >>> SQLAlchemyStore("db+sqlite:///results.sqlite").url
        'sqlite:///results.sqlite'
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "celery-breaker",
        timeout: float = 1.0,
        engine_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(_Values(url, prefix, timeout, dict(engine_options or {})))


class _Values:
    """Implements `celery_breaker.stores.cas.Values`."""

    def __init__(self, url: str, prefix: str, timeout: float, options: dict[str, Any]) -> None:
        try:
            self._target = make_url(url.removeprefix("db+"))
        except (ArgumentError, ValueError):  # of a port that is no number, and may be a password
            raise ConfigurationError("breaker_store cannot be understood as a SQLAlchemy URL") from None
        self.url = _shown(self._target)
        self._prefix, self._timeout, self._options = prefix, timeout, options
        self._inherited: list[Engine] = []  # of before a fork, kept from being collected
        self._next_sweep = time.monotonic() + random.random() * _SWEEP_EVERY
        self._begin()
        if self._engine.dialect.name not in _CLOCKS:
            known = "PostgreSQL, MySQL, MariaDB and SQLite"
            raise ConfigurationError(f"{self.url}: celery-breaker keeps records in {known} alone")
        self._sql = _Statements(_CLOCKS[self._engine.dialect.name]())
        if self._engine.dialect.is_async:
            raise ConfigurationError(f"{self.url}: the driver is an asynchronous one; use another, such as psycopg")

    def _begin(self) -> None:
        self._engine = _engine(self._target, self._timeout, self._options)
        self._deadlines = Deadlines()
        self._connecting = threading.local()
        self._gate: Gate | None = None
        if self._engine.dialect.name != "sqlite":
            event.listen(self._engine, "do_connect", self._connect)
            return
        event.listen(self._engine, "connect", _prepare_sqlite)
        if self._engine.url.database not in (None, "", ":memory:"):
            self._gate = Gate(self._engine.dispose)

    # --- what CasStore asks for ---------------------------------------------------------------------------------------

    def load(self, keys: Sequence[Key]) -> Loaded:
        ids = {key.hashed(self._prefix): key for key in keys}
        places = list(ids)
        values: dict[Key, Held] = {}
        now = 0.0
        for start in range(0, max(len(places), 1), _AT_ONCE):
            for at, place, token, value in self._ask(self._sql.load, {"ids": places[start : start + _AT_ONCE]}):
                now = float(at)
                if place is not None:
                    values[ids[place]] = Held(value if isinstance(value, str) else "", token)  # SQLite keeps anything
        return Loaded(now, values)

    def save(self, key: Key, text: str, *, over: Held | None, ttl: float | None) -> bool:
        values = {"place": key.hashed(self._prefix), "new": random.getrandbits(63), "text": text, "ttl": ttl}
        if over is None:
            values |= {"prefix_": self._prefix, "kind_": key.kind, "name_": key.name}
            done = self._run(lambda connection: _inserted(connection, self._sql.insert, values))
        else:
            values |= {"old": over.token}
            done = self._run(lambda connection: connection.execute(self._sql.update, values).rowcount == 1)
        if done and key.kind == "lease":
            self._sweep_now_and_then()
        return done

    def drop(self, keys: Sequence[Key]) -> None:
        self.now()  # takes the loss of an idle connection upon itself: a removal done twice could hit what came between
        values = {"ids": [key.hashed(self._prefix) for key in keys]}
        self._run(lambda connection: connection.execute(self._sql.drop, values))

    def names(self) -> list[str]:
        found = self._ask(self._sql.names, {"prefix_": self._prefix})
        return [name for prefix, name in found if prefix == self._prefix]  # MySQL takes "a" and "A" for equal

    def now(self) -> float:
        return self.load([]).now

    def after_fork(self) -> None:
        self._inherited.append(self._engine)
        self._begin()

    def close(self) -> None:
        self._engine.dispose()

    def _sweep_now_and_then(self) -> None:
        """Remove what has run out, of every prefix. First looked for: a plain reading locks no rows of others."""
        if time.monotonic() < self._next_sweep:
            return
        self._next_sweep = time.monotonic() + _SWEEP_EVERY
        try:
            if ids := [place for (place,) in self._ask(self._sql.expired, {})]:
                self._run(lambda connection: connection.execute(self._sql.sweep, {"ids": ids}))
        except StoreError as exc:
            logger.debug("%s: what has run out stays for now: %s", self.url, exc)

    # --- getting through ----------------------------------------------------------------------------------------------

    def _ask(self, query: sa.Executable, values: dict[str, Any]) -> Sequence[Any]:
        return self._run(lambda connection: connection.execute(query, values).all(), again=True)

    def _run(self, work: Callable[[Connection], T], *, again: bool = False) -> T:
        """Do it in time, on a connection that writes at once.

        Args:
            again: may be done a second time if the connection is lost meanwhile, most likely since it was last used.
        """
        deadline = time.monotonic() + self._timeout
        made = False
        while True:
            try:
                with self._connection(deadline) as connection:
                    return work(connection)
            except Exception as exc:  # drivers raise much, not all of it of their own
                late = time.monotonic() >= deadline
                if is_no_table(exc) and not made:
                    self._make_table(deadline)
                    made = True
                elif again and not late and isinstance(exc, DBAPIError) and exc.connection_invalidated:
                    again = False
                elif late:
                    raise self._too_late(exc) from exc
                elif not is_undone(exc):
                    raise StoreError(f"{self.url}: {_words(exc)}") from exc

    def _make_table(self, deadline: float) -> None:
        try:
            with self._connection(deadline) as connection:
                connection.execute(CreateTable(table, if_not_exists=True))
        except Exception as exc:
            try:
                with self._connection(deadline) as connection:
                    connection.execute(sa.select(table.c.id).limit(1))  # another was faster
            except Exception:
                if time.monotonic() >= deadline:
                    raise self._too_late(exc) from exc
                raise StoreError(
                    f"{self.url}: there is no table {table.name}, and it cannot be made ({_words(exc)}); let this user"
                    f" create tables, or add celery_breaker.stores.sqlalchemy.metadata to your migrations"
                ) from exc

    def _too_late(self, exc: Exception) -> StoreError:
        """Says so: a driver takes a socket that we shut for one that the server closed."""
        return StoreError(f"{self.url}: not done within {self._timeout:g} s: {_words(exc)}")

    @contextmanager
    def _connection(self, deadline: float) -> Iterator[Connection]:
        with ExitStack() as stack:
            if self._gate is not None:
                stack.enter_context(self._gate.within(deadline - time.monotonic()))
            with ExitStack() as self._connecting.watch:
                self._connecting.deadline = deadline
                connection = stack.enter_context(self._engine.connect())
            stack.enter_context(self._watched(connection.connection.dbapi_connection, deadline))
            try:
                yield connection
            except SQLAlchemyError:
                raise
            except BaseException:  # a time limit of the task, say: the answer is yet to come, and not for the next one
                connection.invalidate()
                raise

    @contextmanager
    def _watched(self, connection: Any, deadline: float) -> Iterator[None]:
        if not hasattr(connection, "fileno"):
            yield  # the driver keeps time itself
            return
        with self._deadlines.watched(connection.fileno(), deadline):
            yield

    def _connect(self, dialect: Dialect, record: object, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Connect in time, and watch over the questions that SQLAlchemy asks a new connection."""
        deadline = self._connecting.deadline
        seconds = deadline - time.monotonic()
        connection = within(seconds, lambda: dialect.connect(*args, **options), discard=lambda late: late.close())
        self._connecting.watch.enter_context(self._watched(connection, deadline))
        return connection


class _Statements:
    """What is asked of a database whose clock, in seconds since 1970, is this expression. Built once: it takes time."""

    def __init__(self, clock: sa.ColumnElement[Any]) -> None:
        ids = table.c.id.in_(sa.bindparam("ids", expanding=True))
        moment = sa.select(clock.label("now")).subquery()
        columns = (moment.c.now, table.c.id, table.c.token, table.c.value)
        self.load = sa.select(*columns).select_from(moment.outerjoin(table, ids))  # the time, also without a value
        ours = (table.c.prefix == sa.bindparam("prefix_"), table.c.kind == "record")
        self.names = sa.select(table.c.prefix, table.c.name).where(*ours)

        written = {
            "token": sa.bindparam("new"),
            "value": sa.bindparam("text"),
            "expires": clock + sa.bindparam("ttl", type_=sa.Double),
        }
        named: dict[str, Any] = {name: sa.bindparam(f"{name}_") for name in ("prefix", "kind", "name")}
        self.insert = sa.insert(table).values({"id": sa.bindparam("place"), **named, **written})
        unchanged = (table.c.id == sa.bindparam("place"), table.c.token == sa.bindparam("old"))
        self.update = sa.update(table).where(*unchanged).values(written)
        self.drop = sa.delete(table).where(ids)

        expired = table.c.expires < clock
        self.expired = sa.select(table.c.id).where(expired).order_by(table.c.id).limit(_AT_ONCE)
        self.sweep = sa.delete(table).where(ids, expired)


def _inserted(connection: Connection, insert: sa.Insert, values: dict[str, Any]) -> bool:
    try:
        connection.execute(insert, values)
    except IntegrityError:
        return False
    return True


def _engine(url: URL, timeout: float, options: dict[str, Any]) -> Engine:
    pool: dict[str, Any] = {"pool_size": 2, "max_overflow": 8, "pool_timeout": timeout, "pool_recycle": 900}
    if "poolclass" in options or "pool" in options:
        pool = {}
    elif url.get_backend_name() == "sqlite":
        pool = {"poolclass": sa.QueuePool, "pool_size": 1, "max_overflow": 0, "pool_timeout": timeout}
    ours = {"isolation_level": "AUTOCOMMIT", "hide_parameters": True, "pool_reset_on_return": None, **pool}
    try:
        arguments = {**in_time(url.get_driver_name(), timeout, given=url.query), **options.get("connect_args", {})}
        engine = sa.create_engine(url, **{**ours, **options, "connect_args": arguments})
    except ModuleNotFoundError as exc:
        raise ConfigurationError(f"{_shown(url)} needs the driver {exc.name}; pip install it") from None
    except (ImportError, NoSuchModuleError, ArgumentError, TypeError, ValueError) as exc:
        raise ConfigurationError(f"{_shown(url)} cannot be used by SQLAlchemy: {_words(exc)}") from None
    if "isolation_level" in {**options, **engine.get_execution_options()}:
        raise ConfigurationError(f"{_shown(url)}: leave out isolation_level; what a store writes is to be seen at once")
    if hasattr(engine.dialect, "skip_autocommit_rollback"):
        engine.dialect.skip_autocommit_rollback = True  # it would be a round trip after each statement
    return engine


def _prepare_sqlite(connection: Any, record: object) -> None:
    """Write ahead, so that readers do not wait for writers; where the file system cannot, all wait for each other."""
    cursor = connection.cursor()
    try:
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
    except connection.Error as exc:
        logger.debug("SQLite goes on as it is: %s", exc)
    finally:
        cursor.close()


def _shown(url: URL) -> str:
    """Where it is, without user, password and options."""
    return URL.create(url.drivername, host=url.host, port=url.port, database=url.database).render_as_string()


def _words(exc: Exception) -> str:
    """What the database said, without the statement."""
    said = exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc
    return " ".join(str(said).split()) or type(said).__name__
