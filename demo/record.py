"""What happened in one arm of the demo, read from the files that its processes write."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def _breaker_state(status: dict[str, Any], now: float) -> BreakerState:
    """What `celery breaker watch --json` says of a breaker; it gives durations, from the moment it looked."""
    wait = status["retry_after"] if status["state"] == "open" else None
    return BreakerState(now - (status["since"] or 0.0), status["state"], None if wait is None else now + wait)


class Tail:
    """The whole lines that were added to a file since the last look. A file that is not there yet has none."""

    def __init__(self, path: Path) -> None:
        """Begin at the start of `path`."""
        self._path = path
        self._offset = 0

    def lines(self) -> Iterator[str]:
        """The new lines, without those still being written."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        yield from whole.decode(errors="replace").splitlines()


@dataclass(frozen=True, slots=True)
class BreakerState:
    """State of the breaker (closed, open, half_open), since when, and when it is probed next. Unix times."""

    at: float
    state: str
    next_probe: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """How many mails were where at one moment.

    Attributes:
        at: Unix time.
        undelivered: mails of orders placed that the mail server has not yet got.
        queued: messages in the broker's queue, or with a worker and not acknowledged (retries among them).
        parked: tasks set aside by the breaker.
    """

    at: float
    undelivered: int
    queued: int
    parked: int


@dataclass(slots=True)
class Record:
    """Everything the verdict and the plot are made of. All times are Unix times.

    Attributes:
        placed: order number → when it was placed.
        mails: each mail that the server accepted, as (time, order number).
        calls: each call to the mail server that a task made, as (time, order number).
        went_down, came_back: when the mail server's port closed, and opened again.
        samples: how the mails stood, several times a second.
        states: each state that the breaker was seen in.
    """

    placed: dict[int, float] = field(default_factory=dict)
    mails: list[tuple[float, int]] = field(default_factory=list)
    calls: list[tuple[float, int]] = field(default_factory=list)
    went_down: float | None = None
    came_back: float | None = None
    samples: list[Sample] = field(default_factory=list)
    states: list[BreakerState] = field(default_factory=list)

    @property
    def copies(self) -> Counter[int]:
        """Order number → how many mails the server accepted for it."""
        return Counter(order for _, order in self.mails)

    @property
    def undelivered(self) -> int:
        """Orders whose mail has not been accepted."""
        return len(self.placed.keys() - {order for _, order in self.mails})

    @property
    def delivered_all(self) -> bool:
        """Whether each order has its mail."""
        return bool(self.placed) and self.undelivered == 0

    def calls_to_dead_server(self) -> int:
        """Calls made while the mail server's port was closed."""
        if self.went_down is None:
            return 0
        return sum(self.went_down <= at < (self.came_back or float("inf")) for at, _ in self.calls)


class Recorder:
    """Keeps a Record up to date with the files of one arm."""

    def __init__(self, *, orders: Path, calls: Path, mails: Path, states: Path) -> None:
        """Read the orders placed, the log of calls, the mail server's journal, and the states of the breaker."""
        self.record = Record()
        self._orders, self._calls, self._mails, self._states = map(Tail, (orders, calls, mails, states))

    def refresh(self) -> None:
        """Take in what has been written since the last time."""
        for line in self._orders.lines():
            order = json.loads(line)
            self.record.placed[order["order"]] = order["at"]
        for line in self._calls.lines():
            at, service, number = line.split()
            if service == "smtp":
                self.record.calls.append((float(at), int(number)))
        for line in self._mails.lines():
            self._take_mail_event(json.loads(line))
        for line in self._states.lines():
            status = json.loads(line)
            if status["name"] == "smtp":
                self.record.states.append(_breaker_state(status, now=time.time()))

    def _take_mail_event(self, event: dict[str, object]) -> None:
        at = float(str(event["at"]))
        if event["event"] == "mail":
            self.record.mails.append((at, int(str(event["order"]))))
        elif event["event"] == "down":
            self.record.went_down = at
        elif self.record.went_down is not None:
            self.record.came_back = at
