"""The tests' app on a bus that loses announcements, delivers them twice, or late and in the wrong order.

What it does at any moment is in the file that `BUS_VARIABLE` names; what it got goes to the file ``….heard`` beside it.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from celery_breaker.plugin.bus.bus import Bus
from tests.integration.app import app
from tests.integration.tasks import audit_line

__all__ = ["BUS_VARIABLE", "FAULTS", "app"]

BUS_VARIABLE = "CELERY_BREAKER_TESTS_BUS"

FAULTS = ("loses", "doubles", "shuffles")

_HELD_BACK = 0.3
"""Seconds for which a message waits for later ones, to be delivered after them."""

_heard = Bus._heard
_held: list[tuple[Bus, Any, Any]] = []


def _deliver_in_the_wrong_order() -> None:
    while _held:
        _heard(*_held.pop())


def _heard_badly(self: Bus, body: Any, message: Any) -> None:
    path = os.environ[BUS_VARIABLE]
    fault = Path(path).read_text()
    audit_line(f"{path}.heard", fault)
    if fault == "doubles":
        _heard(self, body, message)
        _heard(self, body, message)
    elif fault == "shuffles":
        if not _held:
            threading.Timer(_HELD_BACK, _deliver_in_the_wrong_order).start()
        _held.append((self, body, message))


if BUS_VARIABLE in os.environ:
    Bus._heard = _heard_badly  # type: ignore[method-assign]
