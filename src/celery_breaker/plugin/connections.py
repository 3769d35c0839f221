"""Opening a broker connection without waiting for ever, and closing one that may be broken already."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Connection

__all__ = ["close_quietly", "connected"]

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
