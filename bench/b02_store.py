"""Row 2: commands that a worker sends to the store while its breaker is closed, whatever the task rate."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

import redis

from bench.apps.tasks import guarded, guarded_many
from bench.batches import Batches
from bench.rows import Row
from bench.servers import Servers
from bench.workers import current_app, running_worker
from tests.support.servers import RedisServer

BAR = 2.0
SLOPE_BAR = 0.001
"""Commands per success that stand for none: less than one in a thousand."""
RATES = (20.0, 100.0, 300.0)
MANY = 20
_WARM_UP = 2.0
"""Seconds at a new rate before counting: a breaker's first report is sent at once, the others wait their time."""

MEASURES = (
    "The store has a Redis of its own, whose MONITOR counts what clients send (a script is one command, what it calls "
    "is none). Tasks come at several rates and all at once; the commands per success are the slope over those rates."
)


class Heard:
    """How many client commands MONITOR has shown so far."""

    def __init__(self) -> None:
        self.count = 0
        self._stopping = False

    def listen(self, monitor: redis.client.Monitor) -> None:
        """Count until told to stop and woken by one more command."""
        for command in monitor.listen():
            if self._stopping:
                return
            if command["client_type"] != "lua":
                self.count += 1

    def stop(self) -> None:
        """Have `listen` end with the next command."""
        self._stopping = True


@dataclass(frozen=True, slots=True)
class Point:
    """What one rate came to, both per second."""

    tasks: float
    commands: float

    def __str__(self) -> str:
        return f"{self.commands:.2f} at {self.tasks:.0f} tasks/s"


def rows(quick: bool) -> list[Row]:
    """The greatest rate of commands, their slope over the task rates, and their rate with many breakers, shown."""
    seconds, rates = (6.0, RATES[1:]) if quick else (20.0, RATES)
    with Servers() as servers:
        broker, store = servers.redis(), servers.redis()
        conf = {"broker_url": broker.url, "breaker_store": store.url}
        # The sender does not talk to the store, so what is heard there is the worker.
        with current_app(conf) as app, running_worker(servers.new_folder("store"), conf), _monitored(store) as heard:
            _send(rates[0], _WARM_UP)
            idle = _point(heard, partial(_send, 0, seconds))
            points = [_point(heard, partial(_send, rate, seconds)) for rate in rates]
            with closing(Batches(app, broker, 1000 if quick else 10_000)) as batches:
                batches.prepare(guarded.name)
                points.append(_point(heard, partial(_flat_out, batches)))
            _send(rates[-1], _WARM_UP, many=True)
            many = _point(heard, partial(_send, rates[-1], seconds, many=True))
    return [_rate_row([idle, *points]), _slope_row(points), _many_row(many)]


def _rate_row(points: Sequence[Point]) -> Row:
    worst = max(point.commands for point in points)
    return Row(
        number=2,
        what="store commands per worker per second, closed",
        figure=f"{worst:.2f}",
        bar=f"≤ {BAR:g}",
        met=worst <= BAR,
        note="; ".join(map(str, points)),
    )


def _slope_row(points: Sequence[Point]) -> Row:
    slope = statistics.linear_regression([p.tasks for p in points], [p.commands for p in points]).slope
    return Row(
        number=2,
        what="store commands per success",
        figure=f"{slope:.5f}",
        bar=f"0 (< {SLOPE_BAR:g})",
        met=abs(slope) < SLOPE_BAR,
        note=f"slope over {', '.join(f'{point.tasks:.0f}' for point in points)} tasks/s",
    )


def _many_row(point: Point) -> Row:
    what = f"store commands per worker per second, {MANY} breakers in use"
    return Row(number=2, what=what, figure=f"{point.commands:.2f}", bar="", met=None, note=str(point))


@contextmanager
def _monitored(server: RedisServer) -> Iterator[Heard]:
    heard = Heard()
    with server.client() as client, client.monitor() as monitor:
        thread = threading.Thread(target=heard.listen, args=(monitor,))
        thread.start()
        try:
            yield heard
        finally:
            heard.stop()
            with server.client() as last:
                last.ping()
            thread.join(10)


def _point(heard: Heard, work: Callable[[], int]) -> Point:
    """Count while `work` has tasks run; it returns how many."""
    before, started = heard.count, time.monotonic()
    done = work()
    elapsed = time.monotonic() - started
    return Point(tasks=done / elapsed, commands=(heard.count - before) / elapsed)


def _flat_out(batches: Batches) -> int:
    batches.run(guarded.name)
    return batches.size


def _send(rate: float, seconds: float, *, many: bool = False) -> int:
    """Send tasks at this rate for so long."""
    started = time.monotonic()
    sent = 0
    while (elapsed := time.monotonic() - started) < seconds:
        while sent < elapsed * rate:
            if many:
                guarded_many.delay(sent % MANY)
            else:
                guarded.delay(sent)
            sent += 1
        time.sleep(0.01)
    return sent
