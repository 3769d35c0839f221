"""What runs while a connection is lost. Before 5.6.3, Celery's prefork pool forgot it then, and so nobody heard how it
ended: a task that failed and was to be set aside would have been lost, with its message acknowledged.
"""

from __future__ import annotations

from typing import Any

import celery

__all__ = ["keep_running"]

_MENDED = (5, 6, 3)
"""The release of Celery that keeps it itself."""


def keep_running(pool: Any, *, version: tuple[int, ...] = celery.VERSION[:3]) -> None:
    """Have a worker's pool remember what its processes are running, when the worker empties it to connect anew."""
    flush = getattr(pool, "flush", None)
    if version >= _MENDED or flush is None or not hasattr(getattr(pool, "_pool", None), "_cache"):
        return

    def flush_what_waits() -> None:
        cache = pool._pool._cache
        running = {number: job for number, job in list(cache.items()) if job._accepted}
        flush()
        cache.update({number: job for number, job in running.items() if not job.ready()})

    pool.flush = flush_what_waits
