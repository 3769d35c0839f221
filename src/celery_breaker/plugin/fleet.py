"""The workers of an app, as they describe themselves over remote control; no promise rests on that, for not all can."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celery_breaker.plugin.bus.bus import has_fanout
from celery_breaker.status import WorkerSeen

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["COMMAND", "AppFleet"]

logger = logging.getLogger(__name__)

COMMAND = "breaker_worker"
"""Name of the remote control command by which a worker describes itself."""


class AppFleet:
    """Implements `Fleet` on an app's remote control."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def workers(self, *, wait: float) -> list[WorkerSeen] | None:
        """See `Fleet.workers`; those that guard no task are left out."""
        try:
            if not has_fanout(self._app.connection_for_read()):
                return None  # on Amazon SQS, asking in vain would leave a queue behind
            inspect: Any = self._app.control.inspect(timeout=wait)
            answers = inspect._request(COMMAND) or {}
        except Exception:
            logger.debug("workers cannot be asked", exc_info=True)
            return None
        return [_seen(name, said) for name, said in sorted(answers.items()) if said.get("store")]


def _seen(name: str, said: Mapping[str, Any]) -> WorkerSeen:
    return WorkerSeen(
        name=name,
        store=str(said["store"]),
        connected=bool(said.get("connected")),
        view_age=said.get("view_age"),
        agent=bool(said.get("agent")),
        tended=said.get("tended"),
    )
