"""Bulk loads: thousands of task messages pushed to a Redis queue in pipelines, far faster than a client publishes."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis
    from celery import Celery

QUEUE = "celery"
_AT_ONCE = 1000
"""Messages per pipeline."""

_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def push(app: Celery, client: redis.Redis, task: str, numbers: Iterable[int], *, queue: str = QUEUE) -> None:
    """Enqueue ``task(number)`` for each number, behind what waits already.

    Celery makes one message; the others are that one with ids and arguments of their own.
    """
    pattern = _message(app, client, task)
    left = iter(numbers)
    while batch := [_copy(pattern, number, queue) for number in islice(left, _AT_ONCE)]:
        client.lpush(queue, *batch)


def _message(app: Celery, client: redis.Redis, task: str) -> dict[str, Any]:
    """One message in the form that kombu gives it in Redis, taken back from a queue that nobody consumes."""
    scratch = f"bench.scratch.{uuid.uuid4().hex}"
    app.send_task(task, (0,), queue=scratch)
    raw = client.rpop(scratch)
    assert isinstance(raw, bytes)
    return dict(json.loads(raw))


def _copy(pattern: dict[str, Any], number: int, queue: str) -> str:
    identity = str(uuid.uuid4())
    headers = {**pattern["headers"], "id": identity, "root_id": identity, "argsrepr": f"({number},)"}
    properties = {
        **pattern["properties"],
        "correlation_id": identity,
        "delivery_tag": str(uuid.uuid4()),
        "delivery_info": {"exchange": "", "routing_key": queue},
    }
    body = base64.b64encode(json.dumps([[number], {}, _EMBED]).encode()).decode()
    return json.dumps({**pattern, "headers": headers, "properties": properties, "body": body})
