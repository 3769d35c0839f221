"""The tests' app for a process under libfaketime, which (0.9.10) makes the sleep of Python 3.11 and later raise."""

from __future__ import annotations

import select
import time

from tests.integration.app import app

__all__ = ["app"]


def _sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = _sleep
