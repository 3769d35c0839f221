"""Batches of messages that appear in a worker's queue all at once, on Redis.

A batch is published once, as a client would publish it, in a database that no worker looks at. A run copies it into
the worker's queue with one command and waits until nothing of it is left, neither in the queue nor in hand.
"""

from __future__ import annotations

import time

from celery import Celery

from tests.integration.app import create_app
from tests.support.servers import RedisServer

_BROKER_DB = 0
_SHELF_DB = 9
_QUEUE = "celery"
_TIMEOUT = 120.0


class Batches:
    """Batches for the workers of one app, whose broker is this Redis.

    Args:
        app: with settings as the workers have them, the tasks loaded.
        server: the broker, database 0.
        size: messages in a batch.
    """

    def __init__(self, app: Celery, server: RedisServer, size: int) -> None:
        self.size = size
        self._app = app
        self._server = server
        self._broker = server.client(_BROKER_DB)
        self._shelf = server.client(_SHELF_DB)

    def close(self) -> None:
        """Give back the connections."""
        self._broker.close()
        self._shelf.close()

    def prepare(self, task: str) -> None:
        """Publish a batch of this task, out of the workers' sight."""
        conf = {**self._app.conf.changes, "broker_url": self._server.url_for(_SHELF_DB)}
        app = create_app(conf, set_as_current=False)
        try:
            with app.producer_pool.acquire(block=True) as producer:
                for number in range(self.size):
                    app.tasks[task].apply_async((number,), queue=_QUEUE, producer=producer)
        finally:
            app.close()
        self._shelf.rename(_QUEUE, f"batch:{task}")

    def rate(self, task: str) -> float:
        """Run the batch; messages per second."""
        return self.size / self.run(task)

    def run(self, task: str) -> float:
        """Put the batch before the workers; seconds until the last message has been taken off the broker.

        A message leaves the broker when a pool slot accepts its task, so at the end no more tasks than there are slots
        are still at work, on nothing. A parked one leaves when it is parked.
        """
        started = time.perf_counter()
        assert self._shelf.copy(f"batch:{task}", _QUEUE, destination_db=_BROKER_DB)
        return self._emptied(started) - started

    def take_parked(self, queue: str) -> int:
        """Delete a parking queue; how many messages were in it."""
        count, _ = self._broker.pipeline().llen(queue).delete(queue).execute()
        return int(count)

    def _left(self) -> int:
        return sum(self._broker.pipeline().llen(_QUEUE).hlen("unacked").execute())

    def _emptied(self, started: float) -> float:
        """When it was empty. Between queue and hand a message is in neither for a moment, so look twice."""
        seen_at = 0.0
        while True:
            left, now = self._left(), time.perf_counter()
            if left:
                seen_at = 0.0
            elif seen_at:
                return seen_at
            else:
                seen_at = now
            if now - started > _TIMEOUT:
                raise RuntimeError(f"{left} of {self.size} messages are left after {_TIMEOUT:g} s")
            time.sleep(0.02 if left > self.size / 10 else 0.002)
