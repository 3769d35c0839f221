"""The tests' app with a look at its worker's main loop: how long each turn of it kept a timer waiting.

`celery -A tests.chaos.watched_loop:app worker` appends ten lines a second to the file that `TURNS_VARIABLE` names:
the time (of the monotonic clock), tasks received so far, and the longest stall since the line before, in seconds.
A stall is what a timer of 10 ms came late, less the time for which the machine gave the loop's thread no processor.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import bootsteps
from celery.worker import state

from tests.integration.app import app
from tests.integration.tasks import audit_line

__all__ = ["TURNS_VARIABLE", "Turn", "app", "read_turns"]

TURNS_VARIABLE = "CELERY_BREAKER_TESTS_TURNS"

_TICK = 0.01
_LINE = 0.1


@dataclass(frozen=True, slots=True)
class Turn:
    """One line."""

    at: float
    received: int
    stall: float


def read_turns(path: Path) -> list[Turn]:
    """What has been written so far; a line that is being written just now has no end yet."""
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    lines = [line.split() for line in whole.splitlines()]
    return [Turn(float(at), int(received), float(stall)) for at, received, stall in lines]


def _kept_waiting() -> float:
    """Seconds for which this thread could have run and had no processor, ever; 0 where the kernel does not tell."""
    try:
        waited = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text().split()[1]
    except OSError:
        return 0.0
    return int(waited) / 1e9


class Watch(bootsteps.StartStopStep):
    """Sets the timer."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self.last, self.waited = time.monotonic(), _kept_waiting()
        self.said, self.longest = self.last, 0.0

    def register_with_event_loop(self, consumer: Any, hub: Any) -> None:
        """The loop is about to run, perhaps again: the time since its last turn counts."""
        hub.call_repeatedly(_TICK, self.tick)

    def tick(self) -> None:
        now, waited = time.monotonic(), _kept_waiting()
        self.longest = max(self.longest, now - self.last - _TICK - (waited - self.waited))
        self.last, self.waited = now, waited
        if now - self.said >= _LINE:
            received = sum(state.total_count.values())
            audit_line(os.environ[TURNS_VARIABLE], f"{now:.6f}", received, f"{self.longest:.6f}")
            self.said, self.longest = now, 0.0


if app is not None and TURNS_VARIABLE in os.environ:
    app.steps["consumer"].add(Watch)
