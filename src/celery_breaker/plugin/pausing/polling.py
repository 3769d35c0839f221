"""Stopping a queue where kombu polls it: on Amazon SQS a question may be under way, and its answer will come.

All that this package knows of how kombu polls is in this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vine import promise

from celery_breaker.clock import monotonic

__all__ = ["hurried", "one_at_a_time", "polls", "takers"]

_WAIT = "wait_time_seconds"
"""For how long a poll waits for a message; only a channel that polls has it."""

_SHORTLY = 1
"""Seconds: SQS finds some messages not at once."""

_LATEST = 30.0
"""Seconds, beyond its wait, after which a poll that was not answered never will be."""

_GIVES_BACK = "_release_messages"
"""What a channel has (kombu 5.7) that gives back what comes for a queue that is not consumed any more."""

_ASKS = "_get_bulk_async"
"""By what a channel polls that does so by itself, in the event loop."""

_MARK = "_celery_breaker_one_at_a_time"


def polls(channel: Any) -> bool:
    """Whether asking this channel for a message may wait for one."""
    return hasattr(channel, _WAIT)


def hurried(channel: Any) -> Any:
    """The channel, which asks for a second at the most: the main loop does nothing else meanwhile."""
    if polls(channel):
        setattr(channel, _WAIT, _SHORTLY)
    return channel


def takers(channel: Any) -> dict[str, Any]:
    """Who takes what comes from each queue, where somebody must until the last poll has been answered.

    Before kombu 5.7 the answer would look for nobody else, and end the worker. What comes so is as good as in hand.
    """
    if hasattr(channel, _ASKS) and not hasattr(channel, _GIVES_BACK):
        found: dict[str, Any] = channel.connection._callbacks
        return found
    return {}


def one_at_a_time(channel: Any) -> None:
    """Have no queue of this channel polled by two polls at a time. Does nothing the second time.

    kombu begins to poll when a queue is consumed, although a poll from before it was cancelled may still go on: each
    pause would add one, for good, and every request is paid for.
    """
    if not hasattr(channel, _ASKS) or hasattr(channel, _MARK):
        return
    setattr(channel, _MARK, True)
    ask: Callable[..., Any] = getattr(channel, _ASKS)
    until: dict[str, float] = {}

    def ask_once(queue: str, *args: Any, callback: Any = None, **kwargs: Any) -> Any:
        if monotonic() < until.get(queue, 0.0):
            return None
        until[queue] = monotonic() + getattr(channel, _WAIT) + _LATEST

        def answered(*found: Any) -> Any:
            until.pop(queue, None)
            return callback(*found)

        return ask(queue, *args, callback=promise(answered), **kwargs)

    setattr(channel, _ASKS, ask_once)
