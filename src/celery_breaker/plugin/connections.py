"""Closing a broker connection that may be broken already."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kombu import Connection

__all__ = ["close_quietly"]

logger = logging.getLogger(__name__)


def close_quietly(connection: Connection | None) -> None:
    """Close a connection, if there is one. Never raises."""
    if connection is not None:
        try:
            connection.close()
        except Exception:
            logger.debug("closing a connection failed", exc_info=True)
