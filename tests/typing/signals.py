"""Signals: receivers stay what they were, and the parts that a receiver is given have types."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Callable

from celery import Celery
from celery.utils.dispatch import Signal
from typing_extensions import assert_type

from celery_breaker import Mode, State
from celery_breaker.core.events import Change
from celery_breaker.plugin import signals


def on_trip(sender: Celery, name: str, change: Change, **_: object) -> None:
    """Opened, half-opened and closed carry these."""
    assert_type(change.before, State)
    assert_type(change.mode_after, Mode)
    assert_type(change.reason, str)
    assert_type(change.until, float)


def on_deferral(
    sender: Celery, name: str, task_id: str, task_name: str, action: str, deferrals: int, **_: object
) -> None:
    """A deferral carries these."""


def on_release(sender: Celery, name: str, count: int, **_: object) -> None:
    """A release carries these."""


def receivers() -> None:
    """All five are Celery's own kind, and decorate."""
    assert_type(signals.breaker_opened, Signal)
    assert_type(signals.breaker_half_opened, Signal)
    assert_type(signals.breaker_closed, Signal)
    assert_type(signals.task_deferred, Signal)
    assert_type(signals.task_released, Signal)

    def receive(sender: Celery, **_: object) -> None: ...

    receiver: Callable[..., None] = receive
    assert_type(signals.breaker_opened.connect(receiver), Callable[..., None])
