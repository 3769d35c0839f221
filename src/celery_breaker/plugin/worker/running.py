"""What pool processes have in hand as the worker empties its pool.

Celery's prefork pool forgets some of it, and of what it has forgotten nothing is heard any more: neither that it began,
by which its message is acknowledged, nor how it ended.

- As the connection is lost, before 5.6.3, it forgot what ran: a task that failed and was to be set aside would have
  been lost, with its message acknowledged.
- As the worker stops, in 5.7 still, it forgets what a process was given and has not yet said that it began: the task
  runs, its message goes back to the queue, and it runs again; and the process waits for half a minute to be heard.
"""

from __future__ import annotations

from typing import Any

from billiard.pool import RUN

__all__ = ["keep_running"]


def keep_running(pool: Any) -> None:
    """Have a worker's pool remember what its processes have in hand, when the worker empties it.

    What they have not begun is still forgotten as the connection is lost: the broker gives it out again.
    """
    flush = getattr(pool, "flush", None)
    if flush is None or not hasattr(getattr(pool, "_pool", None), "_cache"):
        return

    def flush_what_waits() -> None:
        cache, stops = pool._pool._cache, pool._pool._state != RUN
        kept = {
            number: job
            for number, job in list(cache.items())
            if job._accepted or (stops and _handed_over(job, pool._pool._active_writers))
        }
        flush()
        cache.update({number: job for number, job in kept.items() if not job.ready()})

    pool.flush = flush_what_waits


def _handed_over(job: Any, writers: Any) -> bool:
    """Whether all of it has been written to a process."""
    return job._write_to is not None and job._writer() not in writers
