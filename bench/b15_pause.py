"""Row 15: what a worker does while its breaker pauses a long queue, and how soon it goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.outage_load import push
from bench.outage_tasks import BREAKER, GUARDED, SETTING
from bench.pairs import Spread, spread
from bench.rows import Row
from bench.servers import Servers
from bench.workers import cpu_seconds, current_app, running_worker
from celery_breaker import Breaker
from celery_breaker.plugin.parking.lot import parking_queue
from tests.support.waiting import eventually

if TYPE_CHECKING:
    import redis

    from tests.support.workers import Worker

QUEUE = "line"
SHARE = 2.0
"""Percent of a core."""
RESUME = 1000.0
"""Milliseconds."""
_SETTLE = 3.0
"""Seconds after which a worker that was told to stop is idle."""

MEASURES = (
    'A prefork worker (two processes) whose breaker has `on_open="pause"` and is forced open: its processor time, pool '
    "included, first with an empty queue, then with 200,000 messages in it, which are counted before and after. Then "
    "the breaker is closed and forced open again, over and over: from the word to close, said in another process, to "
    "the first line of the first task."
)


def rows(quick: bool) -> list[Row]:
    """One run on Redis."""
    size, seconds, rounds = (2000, 2.0, 1) if quick else (200_000, 60.0, 15)
    with Servers() as servers:
        server, folder = servers.redis(), servers.new_folder("service")
        conf: dict[str, Any] = {
            "imports": ["bench.outage_tasks"],
            "broker_url": server.url,
            "breaker_store": server.url_for(2),
            "breakers": {BREAKER: {"on_open": "pause"}},
            "task_routes": {GUARDED: {"queue": QUEUE}},
            SETTING: {"folder": str(folder), "up": 0.0, "down": 0.0},
        }
        with current_app(conf) as app, server.client() as client:
            breaker = Breaker(BREAKER)
            breaker.open(reason="benchmark")  # before the worker starts, which reads it then
            with running_worker(servers.new_folder("worker"), conf, queues=[QUEUE]) as worker:
                empty = _share(worker, seconds)
                push(app, client, GUARDED, range(size), queue=QUEUE)
                before = _messages(client)
                full = _share(worker, seconds)
                moved = [abs(now - then) for now, then in zip(_messages(client), before, strict=True)]
                calls = folder / "calls"
                resumed = spread([_resumed(breaker, calls, client) for _ in range(rounds)])
    return _rows(size, empty=empty, full=full, seconds=seconds, moved=sum(moved), resumed=resumed)


def _share(worker: Worker, seconds: float) -> float:
    """Percent of a core that the worker takes."""
    time.sleep(_SETTLE)
    before, started = cpu_seconds(worker), time.monotonic()
    time.sleep(seconds)
    return 100 * (cpu_seconds(worker) - before) / (time.monotonic() - started)


def _messages(client: redis.Redis) -> tuple[int, int, int]:
    """Those that wait, are in hand, and are parked."""
    waiting, in_hand, parked = client.pipeline().llen(QUEUE).hlen("unacked").llen(parking_queue(BREAKER)).execute()
    return waiting, in_hand, parked


def _resumed(breaker: Breaker, calls: Path, client: redis.Redis) -> float:
    """Milliseconds from the close to the first call; leaves the queue paused, with messages in it."""
    known = len(_lines(calls))
    started = time.time()
    breaker.close()
    eventually(lambda: len(_lines(calls)) > known, "a task should run", timeout=30)
    breaker.open(reason="benchmark")
    _quiet(client)
    return 1000 * (float(_lines(calls)[known].split()[0]) - started)


def _quiet(client: redis.Redis) -> None:
    """Wait until nothing moves any more."""
    seen = _messages(client)

    def unchanged() -> bool:
        nonlocal seen
        before, seen = seen, _messages(client)
        return seen == before and not seen[1]

    eventually(unchanged, "the queue should be paused", timeout=30, interval=1.0)


def _lines(calls: Path) -> list[str]:
    return calls.read_text().splitlines() if calls.exists() else []


def _rows(size: int, *, empty: float, full: float, seconds: float, moved: int, resumed: Spread) -> list[Row]:
    return [
        Row(
            number=15,
            what=f"a paused worker, {size:,} messages waiting, % of a core",
            figure=f"{full:.2f}",
            bar=f"≤ {SHARE:g}",
            met=full <= SHARE,
            note=f"{empty:.2f} with an empty queue; {seconds:.0f} s each",
        ),
        Row(
            number=15,
            what="of these, moved, taken in hand or parked meanwhile",
            figure=str(moved),
            bar="0",
            met=moved == 0,
        ),
        Row(
            number=15,
            what="from the close to the first task, ms",
            figure=f"{resumed:.0f}",
            bar=f"< {RESUME:,.0f}",
            met=resumed.high < RESUME,
            note=f"{resumed.count} rounds",
        ),
    ]
