"""Row 10: from a trip in one worker to a shut gate in another, with the bus and without it."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from celery import Celery

from bench import drawing
from bench.apps.watched import NOTES_VARIABLE, TEMPLATE, watched
from bench.rows import Row
from bench.servers import MissingServer, Servers
from bench.workers import current_app, running_worker
from celery_breaker import Breaker
from celery_breaker.plugin.app import breakers_of
from tests.support.waiting import eventually

WITH_BUS = 0.050
WITHOUT_BUS = 1.2
BREAKERS = 20
"""Breakers in use in both workers; each trips once per round."""
PAUSE = 0.2
"""Seconds between two trips at the most; at random, so that they fall at any moment between two looks at the store."""

MEASURES = (
    f"Two workers share {BREAKERS} closed breakers. The first notes when it hands over the failure that trips one, the "
    "second when its own view of it stops admitting, both on the machine's monotonic clock. Trips come at any moment."
)

_latencies: dict[str, Sequence[float]] = {}


def rows(quick: bool) -> list[Row]:
    """With the bus on Redis, and without; with the bus on RabbitMQ where it is installed, to be shown."""
    rounds = 1 if quick else 10
    with Servers() as servers:
        redis = servers.redis()
        conf = {"broker_url": redis.url, "breaker_store": redis.url_for(2)}
        _latencies["with the bus"] = _measure(servers, conf, rounds)
        _latencies["without the bus"] = _measure(servers, {**conf, "breaker_bus": False}, rounds)
        if not quick:
            try:
                rabbitmq = servers.rabbitmq()
            except MissingServer:
                pass
            else:
                conf["broker_url"] = rabbitmq.url
                _latencies["with the bus, on RabbitMQ"] = _measure(servers, conf, rounds)
    bars = {"with the bus": WITH_BUS, "without the bus": WITHOUT_BUS}
    return [_row(what, figures, bars.get(what)) for what, figures in _latencies.items()]


def plot(folder: Path) -> None:
    """Draw the share of trips that had been heard of after so long."""
    with drawing.drawn(folder / "bench-10-news.svg") as axes:
        for what, latencies in _latencies.items():
            shares = [100 * (number + 1) / len(latencies) for number in range(len(latencies))]
            axes.step(sorted(1000 * latency for latency in latencies), shares, label=what)
        axes.set_xscale("log")
        axes.set_xlabel("milliseconds from the failure to the shut gate in another worker")
        axes.set_ylabel("% of trips")
        axes.legend(loc="lower right", frameon=False)


def _measure(servers: Servers, conf: Mapping[str, Any], rounds: int) -> list[float]:
    """Seconds from trip to shut gate, trip by trip."""
    folder = servers.new_folder("news")
    conf = {**conf, "imports": ["bench.apps.watched"], "breaker_store_prefix": folder.name}
    first, second = Notes(folder / "first"), Notes(folder / "second")
    dice = random.Random(1)
    with current_app(conf) as app, ExitStack() as stack:
        for notes in (first, second):
            env = {NOTES_VARIABLE: str(notes.path)}
            stack.enter_context(running_worker(folder, conf, queues=[notes.path.name], concurrency=1, env=env))
        _make_known(app)
        for number in range(rounds):
            for service in range(BREAKERS):
                watched.apply_async((service,), {"down": True}, queue="first")
                time.sleep(dice.uniform(0, PAUSE))
            second.wait_for("shut", (number + 1) * BREAKERS)
            for service in range(BREAKERS):
                Breaker(TEMPLATE.format(number=service)).reset()
            for notes in (first, second):
                notes.wait_for("passing", (number + 1) * BREAKERS)
    reported, shut = first.times("reported"), second.times("shut")
    if len(reported) != rounds * BREAKERS:
        raise RuntimeError(f"{len(reported)} failures were reported instead of {rounds * BREAKERS}")
    return [(after - before) / 1e9 for before, after in zip(reported, shut, strict=True)]


class Notes:
    """What a worker noted; see `bench.apps.watched`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def times(self, event: str) -> list[int]:
        """Nanoseconds at which it happened, breaker by breaker and then in order, so that two workers' match."""
        lines = [line.split() for line in self.path.read_text().splitlines()] if self.path.exists() else []
        return [at for _, at in sorted((name, int(at)) for what, name, at in lines if what == event)]

    def wait_for(self, event: str, count: int) -> None:
        """Wait until it has happened so often."""
        eventually(
            lambda: len(self.times(event)) >= count,
            lambda: f"{count} times {event!r} expected, {len(self.times(event))} found",
            timeout=30,
        )


def _make_known(app: Celery) -> None:
    """Have both workers call every service once, and report it, so that each has a view of every breaker."""
    for queue in ("first", "second"):
        for number in range(BREAKERS):
            watched.apply_async((number,), queue=queue)
    registry = breakers_of(app).registry
    cells = [registry.cell(TEMPLATE.format(number=number)) for number in range(BREAKERS)]
    eventually(
        lambda: all(registry.totals(cell).calls >= 2 for cell in cells),
        "both workers should have reported a call of every service",
        timeout=60,
        interval=0.5,
    )


def _row(what: str, latencies: Sequence[float], bar: float | None) -> Row:
    p50, p99 = statistics.median(latencies), statistics.quantiles(latencies, n=100, method="inclusive")[98]
    strictly = bar == WITH_BUS
    met = None if bar is None else p99 < bar or (p99 == bar and not strictly)
    return Row(
        number=10,
        what=f"trip to shut gate in another worker, {what}",
        figure=f"p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms",
        bar="" if bar is None else f"p99 {'<' if strictly else '≤'} {bar * 1000:g} ms",
        met=met,
        note=f"{len(latencies)} trips, worst {max(latencies) * 1000:.1f} ms",
    )
