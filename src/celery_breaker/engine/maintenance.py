"""Maintenance of a service: an override with an end, which a with-block takes back early."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType

from celery_breaker.core import machine
from celery_breaker.core.record import Mode, Override, Record
from celery_breaker.errors import StoreError

__all__ = ["Maintenance"]

logger = logging.getLogger(__name__)

Step = Callable[[Record, float], Record]


class Maintenance:
    """What `Breaker.maintenance` gives: in force since it was made, until its end, `end`, or the end of a with-block.

    Args:
        change: applies a step to the breaker's record; may raise `StoreError`.
        seconds: until its end, from now.

    Example:
        >>> from celery_breaker import Breaker
        >>> work = Breaker("example-bank", store="memory://").maintenance(until=600, reason="upgrade")
        >>> work.end()
        >>> str(Breaker("example-bank", store="memory://").state)
        'closed'
    """

    def __init__(
        self, change: Callable[[Step], None], *, name: str, mode: Mode, seconds: float, reason: str, by: str
    ) -> None:
        self._change = change
        self._name = name
        self._mine: Override | None = None
        self._before: Override | None = None

        def begin(record: Record, now: float) -> Record:
            begun = machine.override(record, mode, now=now, reason=reason, by=by, expires_in=seconds)
            self._mine, self._before = begun.override, record.override
            return begun

        change(begin)

    def end(self) -> None:
        """Lift what this maintenance has forced, and nothing that somebody else has said since. Atomic.

        What it had replaced, as an operator's own override, counts again. The second time does nothing.

        Raises:
            StoreError: the fleet cannot be told; what was forced ends at its time.
        """
        mine, self._mine = self._mine, None
        if mine is not None:
            self._change(lambda record, now: machine.lifted(record, mine, before=self._before, now=now))

    def __enter__(self) -> Maintenance:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.end()
        except StoreError:
            if exc is None:
                raise
            logger.exception("maintenance of breaker %r ends at its time only", self._name)
