"""Finds out which workers are online and what their clocks say, from the heartbeats they send anyway."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from celery_breaker.plugin.bus.bus import has_fanout
from celery_breaker.plugin.connections import close_quietly, connected
from celery_breaker.plugin.doctor.case import WorkerFacts

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["workers_online"]

logger = logging.getLogger(__name__)


def workers_online(app: Celery, *, wait: float) -> tuple[WorkerFacts, ...] | None:
    """The workers that answer a ping or are heard within ``wait`` seconds; ``None`` where neither is possible.

    A skew is wrong by as long as a heartbeat takes to get here, at the most: milliseconds.
    """
    try:
        if not has_fanout(app.connection_for_read()):
            return None  # on Amazon SQS, asking in vain would leave queues behind
        answered = app.control.inspect(timeout=min(wait, 1.0)).ping() or {}
        skews = _skews(app, wait=wait)
    except Exception:  # a transport without fanout, or a user who may not use it: nothing of ours depends on it
        logger.debug("workers cannot be asked", exc_info=True)
        return None
    return tuple(WorkerFacts(name, skews.get(name)) for name in sorted({*answered, *skews}))


def _skews(app: Celery, *, wait: float) -> dict[str, float]:
    """By how much each worker's clock is ahead, as of the heartbeat that was quickest to come."""
    seen: dict[str, list[float]] = {}

    def heard(event: dict[str, Any]) -> None:
        seen.setdefault(event["hostname"], []).append(event["timestamp"] - time.time())

    connection = connected(app, timeout=2)
    try:
        receiver = app.events.Receiver(connection, handlers={"worker-heartbeat": heard, "worker-online": heard})
        with receiver.consumer_context() as (listening, _channel, _consumers):
            until = time.monotonic() + wait
            while (left := until - time.monotonic()) > 0:
                try:
                    listening.drain_events(timeout=left)
                except TimeoutError:
                    break
    finally:
        close_quietly(connection)
    return {name: max(skews) for name, skews in seen.items()}  # later arrival only makes it smaller
