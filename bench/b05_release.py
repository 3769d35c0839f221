"""Row 5: messages per second that the agent can move from a parking queue back to where they came from."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any

from celery import Celery

from bench.apps.tasks import DOWN
from bench.pairs import spread
from bench.rows import Row
from bench.servers import MissingServer, Servers
from bench.workers import current_app, running_worker
from celery_breaker import Breaker
from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.parking.lot import Lot
from tests.support.waiting import eventually

BARS = {"redis": 3000, "rabbitmq": 1500}
STEP = 500
"""Messages per step, as after some seconds of the ramp."""
QUEUE = "celery"

MEASURES = (
    f"A worker parks a backlog; then an agent's lot releases it, {STEP} messages a step, looking before each step at "
    "the depth of the parking and of the target queue as the agent does. RabbitMQ confirms each publish."
)


def rows(quick: bool) -> list[Row]:
    """One row for each broker that is installed; Redis alone if it is to be quick."""
    with Servers() as servers:
        redis = servers.redis()
        out = [_row("redis", servers, redis.url, redis.url, quick=quick)]
        if quick:
            return out
        try:
            rabbitmq = servers.rabbitmq()
        except MissingServer as exc:
            out.append(Row(number=5, what="released/s, rabbitmq", figure="–", bar="", met=None, note=str(exc)))
        else:
            out.append(_row("rabbitmq", servers, rabbitmq.url, redis.url, quick=quick))
        return out


def _row(broker: str, servers: Servers, broker_url: str, store_url: str, *, quick: bool) -> Row:
    size, rounds = (500, 1) if quick else (5000, 5)
    conf = {"broker_url": broker_url, "breaker_store": store_url, "breaker_store_prefix": f"bench-{broker}"}
    with current_app(conf) as app, ExitStack() as stack:
        Breaker(DOWN).open(reason="benchmark")  # before the worker starts, which reads it then
        stack.enter_context(running_worker(servers.new_folder(broker), conf))
        with closing(breakers_of(app).open_lot()) as lot:
            rates = [_round(app, lot, size) for _ in range(rounds + 1)][1:]  # the first one connects and declares
    found = spread(rates)
    return Row(
        number=5,
        what=f"released/s, {broker}",
        figure=f"{found:,.0f}",
        bar=f"≥ {BARS[broker]:,}",
        met=found.median >= BARS[broker],
        note=f"backlog of {size:,}, {found.count} rounds",
    )


def _round(app: Celery, lot: Lot, size: int) -> float:
    """Park a backlog with the worker, have it let go of the queue, and release everything; messages per second."""
    _park(app, lot, size)
    started = time.perf_counter()
    released = 0
    while lot.size(DOWN):
        lot.target_depth(DOWN)
        released += lot.release(DOWN, STEP)
    seconds = time.perf_counter() - started
    with app.connection_for_write() as connection:
        waiting = connection.default_channel.queue_purge(QUEUE)
    if (released, waiting) != (size, size):
        raise RuntimeError(f"{released} released and {waiting} found in the queue instead of {size}")
    return size / seconds


def _park(app: Celery, lot: Lot, size: int) -> None:
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(size):
            app.tasks["bench.parking"].apply_async((number,), queue=QUEUE, producer=producer)
    _control(app.control.add_consumer)
    eventually(lambda: lot.size(DOWN) == size, lambda: f"{lot.size(DOWN)} of {size} are parked", timeout=60)
    _control(app.control.cancel_consumer)


def _control(command: Callable[..., Any]) -> None:
    """Tell the worker to take, or to let go of, the queue; returns when it has."""
    replies = command(QUEUE, reply=True, timeout=10, limit=1)
    if not replies or any("ok" not in answer for reply in replies for answer in reply.values()):
        raise RuntimeError(f"the worker answered {replies!r}")
