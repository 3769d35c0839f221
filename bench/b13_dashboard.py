"""Row 13: what the dashboard costs with a thousand breakers, and whether fifty open pages cost the store any more."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import psutil

from bench.rows import Row
from bench.servers import Servers
from celery_breaker.core.windows import Delta, Window
from celery_breaker.stores.url import open_store
from tests.support.processes import Process
from tests.support.servers import RedisServer
from tests.support.waiting import eventually
from tests.support.workers import APP, environment

BREAKERS = 1000
BUSY = 50
"""Breakers with calls all the time, five a second each, so that every look has something to tell."""
PAGES = 50
CPU_BAR = 0.20
RATIO_BAR = 1.1

MEASURES = (
    f"`celery breaker web` on {BREAKERS} breakers in Redis, of which {BUSY} are called all the time; clients that each "
    "hold the event stream of an overview page open, of all five pages in turn. Its share of a core is CPU time over "
    "time, of all its threads. Commands are those that the server counts, scripts' own included, without those of the "
    "calls, which are counted before the dashboard starts."
)


def rows(quick: bool) -> list[Row]:
    """The CPU share with fifty pages, and the commands per second beside those with one."""
    seconds = 5.0 if quick else 30.0
    with Servers() as servers:
        redis = servers.redis()
        conf = {
            "broker_url": redis.url,
            "breaker_store": redis.url_for(2),
            "breakers": {f"service-{number:04}": {} for number in range(BREAKERS)},
        }
        with _busy(conf):
            own = _commands_per_second(redis, seconds)
            with _dashboard(servers, conf) as dashboard:
                one, cpu_of_one, _ = _watched(redis, dashboard, 1, seconds)
                many, cpu_of_many, events = _watched(redis, dashboard, PAGES, seconds)
    with_one, with_many = one - own, many - own
    return [
        Row(
            number=13,
            what=f"dashboard's share of a core, {BREAKERS:,} breakers, {PAGES} open pages",
            figure=f"{cpu_of_many:.1%}",
            bar=f"< {CPU_BAR:.0%}",
            met=cpu_of_many < CPU_BAR,
            note=f"{cpu_of_one:.1%} with one page; {events:,} events in {seconds:g} s",
        ),
        Row(
            number=13,
            what=f"its store commands with {PAGES} pages ÷ with one",
            figure=f"{with_many / with_one:.2f}",
            bar=f"≤ {RATIO_BAR:g}",
            met=with_many / with_one <= RATIO_BAR,
            note=f"{with_one:,.0f}/s and {with_many:,.0f}/s",
        ),
    ]


@contextmanager
def _busy(conf: Mapping[str, Any]) -> Iterator[None]:
    """Calls through some of the breakers, until the block ends."""
    done = threading.Event()
    names = list(conf["breakers"])[:BUSY]

    def work() -> None:
        with closing(open_store(conf["breaker_store"])) as store:
            while not done.wait(1.0):
                for name in names:
                    store.tally(name, Delta(calls=5), Window(span=60.0), generation=0, worker="bench")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def _dashboard(servers: Servers, conf: Mapping[str, Any]) -> Iterator[Process]:
    argv = [sys.executable, "-m", "celery", "-A", APP, "breaker", "web", "--port", "0"]
    folder = servers.new_folder("dashboard")
    process = Process(argv, name="dashboard", log=folder / "log", env=environment(conf), cwd=folder)
    process.start()
    try:
        process.wait_for_log(r"Dashboard on \S+")
        yield process
    finally:
        process.stop()


def _watched(redis: RedisServer, dashboard: Process, pages: int, seconds: float) -> tuple[float, float, int]:
    """Commands per second of the server, the dashboard's share of a core, and events that came, with so many pages."""
    url = urlsplit(dashboard.wait_for_log(r"Dashboard on (\S+)")[1])
    with _Pages(str(url.hostname), url.port or 80, pages) as watching:
        eventually(lambda: watching.greeted == pages, "all pages should be greeted")
        busy, started, events = _cpu(dashboard), time.monotonic(), watching.events
        commands = _commands_per_second(redis, seconds)
        share = (_cpu(dashboard) - busy) / (time.monotonic() - started)
        return commands, share, watching.events - events


def _cpu(process: Process) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def _commands_per_second(redis: RedisServer, seconds: float) -> float:
    with redis.client() as client:
        before, started = client.info("stats")["total_commands_processed"], time.monotonic()
        time.sleep(seconds)
        after = client.info("stats")["total_commands_processed"]
        return float(after - before) / (time.monotonic() - started)


class _Pages:
    """So many event streams, read in a thread."""

    def __init__(self, host: str, port: int, count: int) -> None:
        self.greeted = self.events = 0
        self._where = (host, port)
        self._count = count
        self._done = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._read_all()))

    def __enter__(self) -> _Pages:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    async def _read_all(self) -> None:
        readers = [asyncio.create_task(self._read(number)) for number in range(self._count)]
        while not self._done.is_set():
            await asyncio.sleep(0.1)
        for reader in readers:
            reader.cancel()
        for outcome in await asyncio.gather(*readers, return_exceptions=True):
            if not isinstance(outcome, asyncio.CancelledError):
                raise RuntimeError(f"a page was cut off: {outcome!r}")

    async def _read(self, number: int) -> None:
        path = f"/live?page={number % 5 + 1}"  # the five pages of the overview
        greeted = False
        reader, writer = await asyncio.open_connection(*self._where, limit=1 << 24)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            async for line in reader:
                if line.startswith(b"data: "):
                    self.greeted += not greeted
                    greeted = True
                    self.events += 1
        finally:
            writer.close()
