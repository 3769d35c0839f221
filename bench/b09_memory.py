"""Row 9: what 100,000 deferred tasks cost the memory of a worker's main process, and how many it holds at once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from bench.outage_load import QUEUE, push
from bench.outage_tasks import BREAKER, GUARDED, NAIVE, SETTING
from bench.rows import Row
from bench.servers import Servers
from bench.workers import current_app, running_worker
from celery_breaker import Breaker
from celery_breaker.plugin.parking.lot import parking_queue

if TYPE_CHECKING:
    import redis

MEASURES = (
    "100,000 tasks appear in the queue of a prefork worker (two processes, Celery's prefetch of four for each) whose "
    "breaker is forced open, after it has run and parked a few. Its main process, and Redis's hash of unacknowledged "
    "messages, are looked at ten times a second until the last task is parked."
)

BAR = 20.0
"""MB of 1,000,000 bytes."""
CONCURRENCY = 2
PREFETCH = 4 * CONCURRENCY
_FEW = 200
_PATIENCE = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One moment: resident bytes of the main process, and messages by where they are."""

    resident: int
    unacked: int
    queued: int
    parked: int


def rows(quick: bool) -> list[Row]:
    """One run on Redis."""
    size = 3000 if quick else 100_000
    with Servers() as servers:
        server, folder = servers.redis(), servers.new_folder("service")
        conf: dict[str, Any] = {
            "imports": ["bench.outage_tasks"],
            "broker_url": server.url,
            SETTING: {"folder": str(folder), "up": 0.0, "down": 0.0},
        }
        with current_app(conf) as app, server.client() as client:
            Breaker(BREAKER).open(reason="benchmark")  # before the worker starts, which reads it then
            with running_worker(servers.new_folder("worker"), conf, concurrency=CONCURRENCY) as worker:
                watch = _Watch(client, psutil.Process(worker.pid))
                push(app, client, NAIVE, range(_FEW))
                push(app, client, GUARDED, range(_FEW))
                before = watch.until_parked(_FEW)[-1]
                started = time.monotonic()
                push(app, client, GUARDED, range(size))
                looks = watch.until_parked(_FEW + size)
                seconds = time.monotonic() - started
            ran = len((folder / "calls").read_text().splitlines())
    if ran != _FEW:
        raise RuntimeError(f"{ran} tasks ran instead of the {_FEW} without a breaker")
    return _rows(before, looks, f"{size:,} tasks in {seconds:.0f} s")


class _Watch:
    """Looks at a worker and its broker."""

    def __init__(self, client: redis.Redis, process: psutil.Process) -> None:
        self._client = client
        self._process = process

    def until_parked(self, number: int) -> list[Look]:
        """Looks, ten a second, until so many are parked and nothing else is left."""
        looks = [self._look()]
        deadline = time.monotonic() + _PATIENCE
        while looks[-1].queued or looks[-1].unacked or looks[-1].parked != number:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{looks[-1]} after {_PATIENCE:g} s instead of {number:,} parked")
            time.sleep(0.1)
            looks.append(self._look())
        return looks

    def _look(self) -> Look:
        keys = self._client.pipeline().hlen("unacked").llen(QUEUE).llen(parking_queue(BREAKER))
        unacked, queued, parked = keys.execute()
        return Look(resident=self._process.memory_info().rss, unacked=unacked, queued=queued, parked=parked)


def _rows(before: Look, looks: list[Look], what: str) -> list[Row]:
    growth = max(look.resident - before.resident for look in looks) / 1e6
    held = max(look.unacked for look in looks)
    return [
        Row(
            number=9,
            what="growth of the worker's main process (RSS), at most, MB",
            figure=f"{growth:.1f}",
            bar=f"< {BAR:g}",
            met=growth < BAR,
            note=f"{what}; {before.resident / 1e6:.1f} MB before, {looks[-1].resident / 1e6:.1f} at the end",
        ),
        Row(
            number=9,
            what="unacknowledged messages, at most",
            figure=str(held),
            bar=f"≤ {PREFETCH}",
            met=held <= PREFETCH,
            note=f"{len(looks)} looks",
        ),
    ]
