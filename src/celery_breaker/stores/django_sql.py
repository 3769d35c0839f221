"""The statements of the Django store, with ``%s`` for what is bound; the same for each vendor but for its clock."""
# ruff: noqa: S608 -- what is put in are the constants of this file, and marks

from __future__ import annotations

__all__ = ["AT_ONCE", "TABLE", "VENDORS", "Statements"]

TABLE = "celery_breaker_storedvalue"

AT_ONCE = 500
"""Keys per statement, below SQLite's limit of 999 parameters."""

_NOW = {
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS double precision)",
    # UNIX_TIMESTAMP() converts from the session's time zone: it would go back an hour where summer time ends.
    "mysql": "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1e6)",
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
}
"""Seconds since 1970 by the server's clock, with fractions; by Django's name of the vendor."""

VENDORS = tuple(_NOW)


class Statements:
    """Statements for one vendor. None names a column that it does not write: another release may have more of them."""

    def __init__(self, vendor: str) -> None:
        self._now = _NOW[vendor]
        self.names = f"SELECT prefix, name FROM {TABLE} WHERE kind = %s AND prefix = %s"
        self.expired = f"SELECT id FROM {TABLE} WHERE expires < {self._now} LIMIT {AT_ONCE}"

    def load(self, count: int) -> str:
        """Rows of time, id, body and token: one with the time alone, and one with no time for each value."""
        values = f" UNION ALL SELECT 0, id, body, token FROM {TABLE} WHERE id IN ({_marks(count)})"
        return f"SELECT {self._now}, NULL, NULL, 0{values if count else ''}"

    def insert(self, *, expires: bool) -> str:
        """Binds id, prefix, kind, name, body, token, and seconds to live if it ``expires``."""
        return (
            f"INSERT INTO {TABLE} (id, prefix, kind, name, body, token, expires)"
            f" VALUES (%s, %s, %s, %s, %s, %s, {self._end(expires)})"
        )

    def update(self, *, expires: bool) -> str:
        """Binds body, token, seconds to live if it ``expires``, and the id and token of what it replaces."""
        return f"UPDATE {TABLE} SET body = %s, token = %s, expires = {self._end(expires)} WHERE id = %s AND token = %s"

    def delete(self, count: int) -> str:
        """Removes by id."""
        return f"DELETE FROM {TABLE} WHERE id IN ({_marks(count)})"

    def delete_expired(self, count: int) -> str:
        """Removes by id what has expired still."""
        return f"{self.delete(count)} AND expires < {self._now}"

    def _end(self, expires: bool) -> str:
        return f"{self._now} + %s" if expires else "NULL"


def _marks(count: int) -> str:
    return ", ".join(["%s"] * count)
