"""Row 4: messages parked per second ÷ plain no-op tasks per second, in the same worker, on Redis."""

from __future__ import annotations

from functools import partial

from bench.apps.tasks import DOWN
from bench.batches import Batches
from bench.pairs import interleaved, ratio, spread
from bench.rows import Row
from bench.servers import Servers
from bench.workers import current_app, running_worker
from celery_breaker import Breaker
from celery_breaker.plugin.parking.lot import parking_queue
from tests.support.servers import RedisServer

BAR = 1.5

MEASURES = (
    "Batches of messages appear in a worker's queue at once; counted is how fast they leave the broker: run by the "
    "pool, or set aside by a breaker that is forced open. The same worker, in turn."
)


def rows(quick: bool) -> list[Row]:
    """Prefork has the bar; solo and threads, and results that are kept, are shown."""
    with Servers() as servers:
        server = servers.redis()
        out = []
        for pool in ("prefork",) if quick else ("prefork", "threads", "solo"):
            conf = {
                "broker_url": server.url,
                "result_backend": server.url_for(1),
                "breaker_store": server.url_for(2),
                "breaker_store_prefix": f"bench-{pool}",
            }
            with current_app(conf) as app:
                Breaker(DOWN).open(reason="benchmark")  # before the worker starts, which reads it then
                with running_worker(servers.new_folder(pool), conf, pool=pool):
                    batches = Batches(app, server, 200 if quick else 2000)
                    out += _rows_of(pool, batches, server, rounds=1 if quick else 7)
                    batches.close()
        return out


def _rows_of(pool: str, batches: Batches, server: RedisServer, *, rounds: int) -> list[Row]:
    tasks = ["bench.plain", "bench.parking", "bench.plain_kept", "bench.parking_kept"]
    if pool != "prefork":
        tasks = tasks[:2]
    for task in tasks:
        batches.prepare(task)
    arms = {task: partial(_rate, batches, server, task) for task in tasks}
    interleaved(arms, rounds=1)  # the pool's processes and the parking thread start with their first message
    figures = interleaved(arms, rounds=rounds)
    out = [_row(pool, figures["bench.parking"], figures["bench.plain"], bar=pool == "prefork")]
    if "bench.plain_kept" in figures:
        out.append(_row(f"{pool}, results kept", figures["bench.parking_kept"], figures["bench.plain_kept"], bar=False))
    return out


def _rate(batches: Batches, server: RedisServer, task: str) -> float:
    with server.client(1) as results:
        results.flushdb()
    rate = batches.rate(task)
    parked = batches.take_parked(parking_queue(DOWN))
    expected = batches.size if "parking" in task else 0
    if parked != expected:
        raise RuntimeError(f"{task}: {parked} messages were parked instead of {expected}")
    return rate


def _row(arm: str, parked: list[float], plain: list[float], *, bar: bool) -> Row:
    found = ratio(parked, plain)
    return Row(
        number=4,
        what=f"parked/s ÷ plain no-op tasks/s, {arm}",
        figure=f"{found:.2f}",
        bar=f"≥ {BAR}" if bar else "",
        met=found.median >= BAR if bar else None,
        note=f"{spread(parked).median:,.0f} parked/s, {spread(plain).median:,.0f} plain/s, {found.count} rounds",
    )
