"""What the Django store changes of a `DATABASES` entry, for connections that are its alone."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["limits", "own_settings"]

_LEAST_AGE = 60.0
"""Seconds a connection is kept at the least. Django's default closes one after each request; this store asks each
second."""


def own_settings(theirs: dict[str, Any], vendor: str, timeout: float, *, limited: bool = True) -> dict[str, Any]:
    """Settings for a connection that commits at once, and has limits of time.

    A server that is not told to give up would keep a statement that waits for a lock, and its connection, for as long
    as the lock is held, and another one for each new attempt.

    Args:
        theirs: the entry, complete with Django's defaults.
        vendor: as Django calls it.
        timeout: seconds.
        limited: false leaves out PostgreSQL's limit, which a PgBouncer may not let through.
    """
    options = {**theirs["OPTIONS"]}
    options.pop("pool", None)  # one per alias, shared with the user's code
    seconds = max(1, math.ceil(timeout))
    if vendor == "postgresql":
        options.pop("isolation_level", None)
        options["connect_timeout"] = seconds
        if limited:
            limit = f"-c statement_timeout={max(1, int(timeout * 900))}"
            options["options"] = f"{options.get('options', '')} {limit}".strip()
    elif vendor == "mysql":
        options["isolation_level"] = "read committed"
        options["charset"] = "utf8mb4"
        options |= dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), seconds)
    elif vendor == "sqlite":
        options["timeout"] = timeout
    age = theirs["CONN_MAX_AGE"]
    return {
        **theirs,
        "OPTIONS": options,
        "AUTOCOMMIT": True,
        "CONN_HEALTH_CHECKS": False,  # a statement that can be repeated is the check
        "CONN_MAX_AGE": None if age is None else max(age, _LEAST_AGE),
    }


def limits(vendor: str, timeout: float) -> list[str]:
    """Statements that begin a connection: what a lock, and on MariaDB a statement, may take.

    Example:
        >>> limits("sqlite", 1.0)
        []
    """
    if vendor != "mysql":
        return []
    seconds = max(1, math.ceil(timeout))
    locks = f"SET SESSION innodb_lock_wait_timeout = {seconds}, SESSION lock_wait_timeout = {seconds}"
    return [f"{locks} /*M! , SESSION max_statement_time = {timeout * 0.9:.3f} */"]
