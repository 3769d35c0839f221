"""Opening a broker connection without waiting for ever, and closing one that may be broken already."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Connection

__all__ = ["OwnConnection", "close_quietly", "connected"]

logger = logging.getLogger(__name__)


def connected(app: Celery, *, timeout: int = 5, **options: Any) -> Connection:
    """A connection for publishing that surely is there, or the transport's error after ``timeout`` seconds."""
    connection = app.connection_for_write(**options)
    try:
        connection.ensure_connection(max_retries=1, timeout=timeout)
    except BaseException:
        close_quietly(connection)
        raise
    return connection


def close_quietly(connection: Connection | None) -> None:
    """Close a connection, if there is one. Never raises."""
    if connection is not None:
        try:
            connection.close()
        except Exception:
            logger.debug("closing a connection failed", exc_info=True)


class OwnConnection:
    """A base for who needs a connection of its own: opened at the first use, and anew after `close`. For one thread."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Connection | None = None

    def _connection_options(self) -> dict[str, Any]:
        """What the connection is opened with, besides the app's settings."""
        return {}

    def _opened(self) -> Connection:
        if self._connection is None:
            self._connection = connected(self._app, **self._connection_options())
        return self._connection

    def _channel(self) -> Any:
        return self._opened().default_channel

    def close(self) -> None:
        """Close the connection, if there is one. Never raises."""
        connection, self._connection = self._connection, None
        close_quietly(connection)
