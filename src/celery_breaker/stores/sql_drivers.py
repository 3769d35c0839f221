"""How the drivers of SQL databases are told a time limit, and how they say what went wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["in_time", "is_no_table", "is_undone"]

_NO_TABLE = ("42P01", "42S02", 1146)
_UNDONE = ("40001", "40P01", 1213)


def in_time(driver: str, timeout: float, *, given: Mapping[str, object]) -> dict[str, Any]:
    """Arguments that keep a connection, and what is asked of it, within ``timeout`` seconds as far as the driver can.

    Args:
        driver: as SQLAlchemy calls it.
        given: arguments that the user gave; these are left out.

    Example:
        >>> in_time("pymysql", 0.5, given={"init_command": ""})
        {'connect_timeout': 0.5, 'read_timeout': 0.5, 'write_timeout': 0.5}
    """
    seconds = math.ceil(timeout)
    server = (  # what a lock may take; only MariaDB reads the rest, and only it limits all statements
        f"SET SESSION innodb_lock_wait_timeout = {seconds}, SESSION lock_wait_timeout = {seconds}"
        f" /*M! , SESSION max_statement_time = {timeout * 0.9:.3f} */"
    )
    libpq = {
        "connect_timeout": seconds,
        "options": f"-c statement_timeout={max(1, int(timeout * 900))}",
    }
    known: dict[str, dict[str, Any]] = {
        "psycopg": libpq,
        "psycopg2": libpq,
        "pg8000": {"timeout": timeout},
        "pymysql": {
            "connect_timeout": timeout,
            "read_timeout": timeout,
            "write_timeout": timeout,
            "init_command": server,
        },
        "mysqldb": {
            "connect_timeout": seconds,
            "read_timeout": seconds,
            "write_timeout": seconds,
            "init_command": server,
        },
        "mysqlconnector": {"connection_timeout": seconds, "init_command": server},
        "mariadbconnector": {
            "connect_timeout": seconds,
            "read_timeout": seconds,
            "write_timeout": seconds,
            "init_command": server,
        },
        "pysqlite": {"timeout": timeout, "check_same_thread": False},
    }
    return {key: value for key, value in known.get(driver, {}).items() if key not in given}


def is_no_table(exc: BaseException) -> bool:
    """Whether a statement failed for want of its table."""
    return _code(exc) in _NO_TABLE or "no such table" in str(_cause(exc))


def is_undone(exc: BaseException) -> bool:
    """Whether a statement certainly did nothing, and would do if it came again: it met another one in a deadlock."""
    return _code(exc) in _UNDONE


def _cause(exc: BaseException) -> BaseException:
    """The driver's own exception."""
    return getattr(exc, "orig", None) or exc


def _code(exc: BaseException) -> object:
    """SQLSTATE or MySQL's number, wherever the driver has it."""
    cause = _cause(exc)
    for attribute in ("sqlstate", "pgcode", "errno"):
        if code := getattr(cause, attribute, None):
            return code
    first = cause.args[0] if cause.args else None
    return first.get("C") if isinstance(first, dict) else first
