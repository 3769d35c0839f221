"""Signals, in the manner of Celery's own. Receivers run in the background threads of the process that acted.

One is sent by the thread that publishes, for what it parks or replaces there; see ``breaker_on_publish``.
``name`` is always the breaker's. What a receiver raises is logged, and changes nothing.

Example:
    In a module that the workers import::

        @breaker_opened.connect
        def opened(sender, name, change, **_):
            page_someone(f"{name} is down: {change.reason}")
"""

from __future__ import annotations

from celery.utils.dispatch import Signal

__all__ = ["breaker_closed", "breaker_half_opened", "breaker_opened", "task_deferred", "task_released"]

breaker_opened: Signal = Signal(name="breaker_opened", providing_args=["name", "change"])
"""A breaker opened, opened again or was forced open. Sender: the app. ``change``: a `Change`."""

breaker_half_opened: Signal = Signal(name="breaker_half_opened", providing_args=["name", "change"])
"""A breaker admits probes. The same arguments."""

breaker_closed: Signal = Signal(name="breaker_closed", providing_args=["name", "change"])
"""A breaker closed, or is no longer forced open. The same arguments."""

task_deferred: Signal = Signal(
    name="task_deferred", providing_args=["name", "task_id", "task_name", "action", "deferrals"]
)
"""A task was not admitted. Sender: the app. ``action``: park, retry, fail or fallback."""

task_released: Signal = Signal(name="task_released", providing_args=["name", "count"])
"""``count`` parked tasks of this breaker went back to their queues. Sender: the app."""
