"""Stands in the way of all that an app publishes; what it does there is in `publisher`, imported at the first."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from celery import Celery

from celery_breaker.plugin.publishing import role  # noqa: F401  (hears from now on whether this becomes a worker)

if TYPE_CHECKING:
    from celery.result import AsyncResult

    from celery_breaker.plugin.publishing.publisher import Publisher

__all__ = ["stand_in_the_way"]

_send_task = Celery.send_task

_KEPT = "_celery_breaker_publisher"
"""Where an app keeps its publisher."""


@functools.wraps(_send_task)
def _by_way_of_the_breakers(
    self: Celery, name: str, args: Any = None, kwargs: Any = None, *more: Any, **options: Any
) -> AsyncResult[Any]:
    publisher: Publisher = self.__dict__.get(_KEPT) or _publisher_of(self)
    return publisher.send(name, args, kwargs, more, options)


def _publisher_of(app: Celery) -> Publisher:
    from celery_breaker.plugin.publishing.publisher import Publisher

    publisher: Publisher = app.__dict__.setdefault(_KEPT, Publisher(app, _send_task))
    return publisher


def stand_in_the_way() -> None:
    """Have what any app publishes pass its breakers. Does nothing the second time.

    Every publish goes by this method, and Celery has no hook that could stop one: what a receiver of
    ``before_task_publish`` raises is logged, and the message sent.
    """
    Celery.send_task = _by_way_of_the_breakers  # type: ignore[method-assign, assignment]
