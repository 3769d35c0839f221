"""What the async face asks of the event loop, be it asyncio's or trio's; the one file that imports anyio."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, get_cancelled_exc_class, get_current_task, to_thread
from anyio.lowlevel import RunVar

__all__ = ["asking", "cancels", "in_thread", "task_id"]

T = TypeVar("T")

_THREADS = 4
"""Threads of one event loop at once. They are few, and apart from those that the program has for its own use."""

_limiter: RunVar[CapacityLimiter] = RunVar("celery_breaker_threads")
_asking: RunVar[Counter[object]] = RunVar("celery_breaker_asking")


def asking() -> Counter[object]:
    """How many tasks of this event loop are asking for what; whoever does counts itself in and out."""
    counter = _asking.get(None)
    if counter is None:
        counter = Counter()
        _asking.set(counter)
    return counter


def task_id() -> int:
    """The task that runs, or 0 if none does; another one may have the same number once this one has ended."""
    try:
        return get_current_task().id
    except Exception:  # no task runs, but what is left of one is collected as garbage; anyio has several words for it
        return 0


def cancels(exc: BaseException) -> bool:
    """Whether this is a cancellation of the task that runs, or a group of nothing else."""
    if isinstance(exc, Exception):
        return False
    parts = getattr(exc, "exceptions", None)  # Python 3.10 has no BaseExceptionGroup of its own
    if parts:
        return all(cancels(part) for part in parts)
    try:
        return isinstance(exc, get_cancelled_exc_class())
    except RuntimeError:  # as above, and no event loop runs either
        return False


async def in_thread(work: Callable[[], T], *, unwanted: Callable[[T], None]) -> T:
    """Run ``work`` in a thread and wait for it without holding up the loop.

    A waiter that is cancelled goes on at once. What ``work`` returns nevertheless is given to ``unwanted``, once, by
    whichever of the two comes last; it must not wait for anything.
    """
    lock = threading.Lock()  # held for no longer than it takes to hand over
    results: list[T] = []
    left = False

    def run() -> T:
        result = work()
        with lock:
            if not left:
                results.append(result)
                return result
        unwanted(result)
        return result

    try:
        return await to_thread.run_sync(run, abandon_on_cancel=True, limiter=_threads())
    except BaseException:
        with lock:
            left = True
        for result in results:
            unwanted(result)
        raise


def _threads() -> CapacityLimiter:
    limiter = _limiter.get(None)
    if limiter is None:
        limiter = CapacityLimiter(_THREADS)
        _limiter.set(limiter)
    return limiter
