"""The Django store: a table of one of the databases in `DATABASES`, reached over connections of its own."""

# Django has no types, and pyright's guesses at them from its code are wrong in places.
# pyright: reportArgumentType=false, reportIndexIssue=false, reportOperatorIssue=false

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, TypeVar

import django
from django.apps import apps
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, IntegrityError, connections, router

from celery_breaker.errors import ConfigurationError, StoreError, suggestion
from celery_breaker.stores.cas import CasStore, Held, Key, Loaded
from celery_breaker.stores.deadlines import Deadlines, within
from celery_breaker.stores.django_settings import limits, own_settings
from celery_breaker.stores.django_sql import AT_ONCE, TABLE, VENDORS, Statements
from celery_breaker.stores.sqlite_forks import Gate

__all__ = ["DjangoStore", "DjangoValues", "default_alias", "unshared"]

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

APP = "celery_breaker"

_IDLE = 2
"""Connections that are kept: a worker's refresh and its agent run at the same time, anything else is rare."""

_SWEEP = 600.0
"""Seconds between two looks for values that have expired."""

_LOST = {"40001", "40P01", 1020, 1213}
"""PostgreSQL's and MySQL's codes for a write that lost against another: serialization failures and deadlocks."""

_NO_TABLE = {"42P01", 1146}


class DjangoStore(CasStore):
    """A `Store` in a table of a Django database: PostgreSQL, MySQL, MariaDB or SQLite. Thread-safe.

    Needs ``"celery_breaker.django"`` in ``INSTALLED_APPS``, and ``manage.py migrate``. It never uses the connections of
    the user's code: what is written here is committed at once, also within an ``atomic()`` block that is rolled back.
    Several applications may share the table, each with its own ``prefix``.

    Args:
        alias: the entry of ``DATABASES``; if it is ``None``, the database routers say, else it is where
            django-celery-results keeps its results, else ``"default"``.
        prefix: keeps applications apart; at most 200 characters.
        timeout: seconds that connecting, and a statement, may take; on MySQL a statement may take whole seconds.

    Raises:
        ConfigurationError: there are no Django settings, no such database, or it is not one of the four.
        StoreError: from every method, when the database cannot be reached or fails.

    Example:
        >>> DjangoStore("default", timeout=2.0).now()  # doctest: +SKIP
        1764312600.123456
    """

    def __init__(self, alias: str | None = None, *, prefix: str = "celery-breaker", timeout: float = 1.0) -> None:
        values = DjangoValues(alias, prefix=prefix, timeout=timeout)
        super().__init__(values, patience=max(5.0, timeout))


class DjangoValues:
    """Implements `celery_breaker.stores.cas.Values`; see `DjangoStore`."""

    def __init__(self, alias: str | None = None, *, prefix: str = "celery-breaker", timeout: float = 1.0) -> None:
        if len(prefix) > 200:
            raise ConfigurationError(f"breaker_store_prefix has {len(prefix)} characters; use at most 200")
        self._alias = _checked_alias(alias)
        self.url: str = f"django-db://{self._alias}"
        self._vendor = _vendor(self._alias)
        self._sql = Statements(self._vendor)
        self._prefix, self._timeout = prefix, timeout
        self._idle: list[_Line] = []
        self._inherited: list[object] = []  # connections of before a fork, kept from being collected
        self._sweep_at = 0.0
        self.after_fork()

    def load(self, keys: Sequence[Key]) -> Loaded:
        """See `Values.load`; a statement for each 500 keys, and the time is the last one's."""
        ids = {key.hashed(self._prefix): key for key in keys}
        values: dict[Key, Held] = {}

        def work(cursor: Any) -> float:
            now = 0.0
            for chunk in _chunks(list(ids)) or [()]:
                cursor.execute(self._sql.load(len(chunk)), chunk)
                for at, row, body, token in cursor.fetchall():
                    if row is None:
                        now = float(at)
                    else:
                        values[ids[row]] = Held(body, token)
            return now

        return Loaded(self._run(work, repeatable=True), values)

    def save(self, key: Key, text: str, *, over: Held | None, ttl: float | None) -> bool:
        """See `Values.save`."""
        token = int.from_bytes(os.urandom(8), "big") >> 1  # never that of a value which was removed meanwhile
        expires, age = ttl is not None, () if ttl is None else (ttl,)
        row = key.hashed(self._prefix)

        def work(cursor: Any) -> bool:
            try:
                if over is None:
                    values = (row, self._prefix, key.kind, key.name, text, token, *age)
                    cursor.execute(self._sql.insert(expires=expires), values)
                else:
                    cursor.execute(self._sql.update(expires=expires), (text, token, *age, row, over.token))
                return bool(cursor.rowcount == 1)
            except IntegrityError:
                return False
            except DatabaseError as exc:
                if _code(exc) in _LOST:
                    return False
                raise

        saved = self._run(work, repeatable=False)
        if saved and over is None and expires and time.monotonic() >= self._sweep_at:
            self._sweep()
        return saved

    def drop(self, keys: Sequence[Key]) -> None:
        """See `Values.drop`."""
        ids = [key.hashed(self._prefix) for key in keys]

        def work(cursor: Any) -> None:
            for chunk in _chunks(ids):
                cursor.execute(self._sql.delete(len(chunk)), chunk)

        self._run(work, repeatable=True)

    def names(self) -> list[str]:
        """See `Values.names`."""

        def work(cursor: Any) -> list[str]:
            cursor.execute(self._sql.names, ("record", self._prefix))
            return [name for prefix, name in cursor.fetchall() if prefix == self._prefix]  # collations may fold case

        return self._run(work, repeatable=True)

    def now(self) -> float:
        """See `Values.now`."""
        return self.load([]).now

    def after_fork(self) -> None:
        """See `Values.after_fork`; the parent's connections are let go of without a word to the server."""
        self._inherited.append(self._idle)
        self._idle = []
        self._lock = threading.Lock()
        self._deadlines = Deadlines()
        self._gate = Gate(self.close) if self._vendor == "sqlite" else None

    def close(self) -> None:
        """See `Values.close`."""
        with self._lock:
            lines, self._idle = self._idle, []
        for line in lines:
            line.close()

    # --- expired values -----------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Remove some values that have expired: each half-open generation leaves a lease behind."""
        self._sweep_at = time.monotonic() + _SWEEP

        def work(cursor: Any) -> None:
            cursor.execute(self._sql.expired)
            if ids := [row for (row,) in cursor.fetchall()]:
                cursor.execute(self._sql.delete_expired(len(ids)), ids)

        try:
            self._run(work, repeatable=True)
        except StoreError as exc:
            logger.debug("%s: expired values stay for now: %s", self.url, exc)

    # --- connections --------------------------------------------------------------------------------------------------

    def _run(self, work: Callable[[Any], _T], *, repeatable: bool) -> _T:
        """Do some work with a cursor, where Django lets it: it refuses a thread that runs an event loop."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._try(work, repeatable=repeatable)
        with ThreadPoolExecutor(1, thread_name_prefix="celery-breaker-django") as elsewhere:
            return elsewhere.submit(self._try, work, repeatable=repeatable).result()

    def _try(self, work: Callable[[Any], _T], *, repeatable: bool) -> _T:
        """Do it, where no fork could do harm."""
        if self._gate is None:
            return self._twice(work, repeatable=repeatable)
        try:
            with self._gate.within(self._timeout):
                return self._twice(work, repeatable=repeatable)
        except TimeoutError as exc:
            raise self._failed(exc) from None

    def _twice(self, work: Callable[[Any], _T], *, repeatable: bool) -> _T:
        """Do it, and do it again on a new connection if the server had closed the one that was kept."""
        line, started = self._take(), time.monotonic()
        try:
            return self._use(line, work)
        except StoreError:
            if not repeatable or not line.used or time.monotonic() - started > self._timeout / 2:
                raise
        self.close()
        return self._use(self._take(), work)

    def _use(self, line: _Line, work: Callable[[Any], _T]) -> _T:
        started = time.monotonic()
        try:
            with self._limit(line, started), line.wrapper.cursor() as cursor:
                answer = work(cursor)
        except Exception as exc:  # backends of third parties raise what they like
            line.close()
            raise self._failed(exc, time.monotonic() - started) from None
        except BaseException:  # a time limit of the task, in the midst of a statement
            line.close()
            raise
        self._give_back(line)
        return answer

    def _limit(self, line: _Line, started: float) -> AbstractContextManager[None]:
        """Cut what takes too long, where the driver itself keeps to no time limit."""
        if line.descriptor is None:
            return nullcontext()
        return self._deadlines.watched(line.descriptor, started + self._timeout)

    def _take(self) -> _Line:
        with self._lock:
            home, line = self._idle, self._idle.pop() if self._idle else None
        if line is not None and line.fit:
            return line
        if line is not None:
            line.close()
        try:
            return within(self._timeout, lambda: _Line(self._alias, self._timeout, home), discard=_Line.close)
        except Exception as exc:
            raise self._failed(exc) from None  # a driver may quote what it was given

    def _give_back(self, line: _Line) -> None:
        line.used = True
        # A test runner drops its database while somebody may still be connected, and fails: keep nothing there.
        testing = hasattr(mail, "outbox")
        with self._lock:
            kept = line.home is self._idle and len(self._idle) < _IDLE and not testing
            if kept:
                self._idle.append(line)
        if not kept:
            line.close()

    def _failed(self, exc: Exception, took: float = 0.0) -> StoreError:
        """One sentence, with the cure where there is one, and without the password."""
        text = " ".join(str(exc).split()) or type(exc).__name__
        if secret := str(connections.settings[self._alias].get("PASSWORD") or ""):
            text = text.replace(secret, "***")
        if _code(exc) in _NO_TABLE or f"no such table: {TABLE}" in text:
            text = f"there is no table {TABLE}; run `manage.py migrate {APP} --database {self._alias}`"
        elif took >= self._timeout:
            text = f"no answer within {self._timeout:g} s ({text})"
        return StoreError(f"{self.url}: {text}")


class _Line:
    """A connection of the store's own, used by one thread at a time.

    Attributes:
        home: the list of idle connections it belongs to.
        used: whether it has served before; the server may have closed it since.
        descriptor: of the socket to cut it by; ``None`` where the driver itself keeps to a time limit.
    """

    def __init__(self, alias: str, timeout: float, home: list[_Line]) -> None:
        self.home, self.used = home, False
        self.descriptor: int | None = None
        self.wrapper = wrapper = connections.create_connection(alias)
        # Read anew each time: a test runner changes them to those of its test database.
        theirs = wrapper.settings_dict
        wrapper.settings_dict = own_settings(theirs, wrapper.vendor, timeout)
        if unshared(wrapper):
            raise ConfigurationError("a database in memory is another one for each connection; name a file")
        wrapper.inc_thread_sharing()
        try:
            try:
                wrapper.ensure_connection()
            except Exception as exc:
                if "startup parameter" not in str(exc):
                    raise
                wrapper.settings_dict = own_settings(theirs, wrapper.vendor, timeout, limited=False)  # a PgBouncer
                wrapper.ensure_connection()
            for statement in limits(wrapper.vendor, timeout):
                with wrapper.cursor() as cursor:
                    cursor.execute(statement)
            if wrapper.vendor == "postgresql":
                self.descriptor = wrapper.connection.fileno()
        except BaseException:
            self.close()
            raise

    @property
    def fit(self) -> bool:
        """Whether it has not reached the age at which the settings want it closed."""
        close_at = self.wrapper.close_at
        return self.wrapper.connection is not None and (close_at is None or time.monotonic() < close_at)

    def close(self) -> None:
        """Close it, whatever state it is in. Not by Django's way, which keeps databases in memory open."""
        raw, self.wrapper.connection = self.wrapper.connection, None
        with suppress(Exception):
            if raw is not None:
                raw.close()


def unshared(wrapper: Any) -> bool:
    """Whether this is an SQLite database in memory, which each connection has to itself."""
    if wrapper.vendor != "sqlite" or not wrapper.is_in_memory_db():
        return False
    return "cache=shared" not in str(wrapper.settings_dict["NAME"])  # a test runner's


def _checked_alias(alias: str | None) -> str:
    """The entry of `DATABASES` to use. Raises `ConfigurationError`."""
    try:
        if not apps.ready:
            django.setup()  # as Celery does for its workers; its command line and a script may not have
        if not apps.is_installed("celery_breaker.django"):
            raise ConfigurationError(
                "breaker_store is in Django's database; add 'celery_breaker.django' to INSTALLED_APPS and run"
                " `manage.py migrate`"
            )
        alias = alias or default_alias()
        if alias not in connections.settings:
            known = tuple(connections.settings)
            raise ConfigurationError(f"breaker_store: DATABASES has no {alias!r}{suggestion(alias, known)}")
    except (ImproperlyConfigured, RuntimeError, LookupError) as exc:
        raise ConfigurationError(f"breaker_store is in Django's database, but Django is not set up: {exc}") from None
    return alias


def default_alias() -> str:
    """Where routers send the table; if none has an opinion, where django-celery-results writes; else ``"default"``."""
    if not apps.is_installed("django_celery_results"):
        return str(router.db_for_write(apps.get_model(APP, "StoredValue")))
    result = apps.get_model("django_celery_results", "TaskResult")()
    result._state.db = router.db_for_write(type(result))  # noqa: SLF001 -- which Django documents
    return str(router.db_for_write(apps.get_model(APP, "StoredValue"), instance=result))


def _vendor(alias: str) -> str:
    try:
        vendor = str(connections[alias].vendor)
    except ImproperlyConfigured as exc:
        raise ConfigurationError(f"breaker_store: database {alias!r} cannot be used: {exc}") from None
    if vendor not in VENDORS:
        raise ConfigurationError(f"breaker_store: database {alias!r} is {vendor}; known are {', '.join(VENDORS)}")
    return vendor


def _code(exc: BaseException) -> object:
    """The database's own code of an error: five characters of PostgreSQL's, a number of MySQL's."""
    cause = exc.__cause__ or exc
    first = cause.args[0] if cause.args else None
    if isinstance(first, int):  # before all: newer drivers of MySQL have a less precise ``sqlstate`` too
        return first
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def _chunks(items: Sequence[str]) -> list[Sequence[str]]:
    return [items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE)]
