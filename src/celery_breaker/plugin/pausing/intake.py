"""The intake: what a worker consumes, so that single queues can stop and go on, and give single messages."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from celery_breaker.plugin.pausing import polling

if TYPE_CHECKING:
    from kombu import Message, Queue

    from celery_breaker.plugin.mainloop import MainLoop

__all__ = ["Intake"]

logger = logging.getLogger(__name__)


class Intake:
    """Stops and resumes queues of the task consumer. Used on the main loop alone, but for `stopped`.

    The worker's own list of queues is left alone: what an operator cancels meanwhile stays cancelled, what is added
    is kept, and a new connection starts from that list.

    Attributes:
        stopped: names of the queues that are stopped; may be read by any thread.
    """

    def __init__(self, loop: MainLoop) -> None:
        self._loop = loop
        self._consumer: Any = None
        self._channel: Any = None
        self._queues: dict[str, Queue] = {}
        self._refused: set[str] = set()
        self.stopped: frozenset[str] = frozenset()

    @property
    def open(self) -> bool:
        """Whether there is a connection that the worker consumes from, or is about to."""
        return self._consumer is not None and self._consumer.task_consumer is not None

    def attach(self, consumer: Any) -> None:
        """The task consumer of this connection has been made; it may not consume yet."""
        self._consumer = consumer
        self._queues.clear()
        self._refused.clear()
        self._channel = None
        self.stopped = frozenset()

    def detach(self) -> None:
        """The connection is gone, or the worker stops consuming."""
        self._consumer = None

    def stop(self, name: str) -> bool:
        """Stop consuming a queue; whether this worker did consume it. What is in hand stays in hand."""
        tasks = self._consumer.task_consumer
        queue = next((queue for queue in tasks.queues if queue.name == name), None)
        if queue is None:
            return False
        self._loop.remember(queue)
        self._queues[name] = queue
        self.stopped = frozenset(self._queues)
        polling.one_at_a_time(tasks.channel)
        takers = polling.takers(tasks.channel)
        taker = takers.get(name)
        tasks.cancel_by_queue(name)
        if taker is not None:
            takers[name] = taker
        return True

    def resume(self, name: str) -> bool:
        """Go on with a queue that was stopped, unless an operator has cancelled it meanwhile; whether it goes on."""
        consumer = self._consumer
        wanted = name in consumer.app.amqp.queues.consume_from
        if wanted and not consumer.task_consumer.consuming_from(name):
            consumer.task_consumer.add_queue(self._queues[name])
            consumer.task_consumer.consume()
        del self._queues[name]
        self.stopped = frozenset(self._queues)
        return wanted

    def fetch(self, names: Iterable[str]) -> Message | None:
        """Take one message out of the first of these stopped queues that has any."""
        for name in names:
            try:
                message = self._get(self._queues[name]) if name in self._queues else None
            except self._consumer.channel_errors as exc:  # which close the channel
                self._channel = None
                if name not in self._refused:
                    logger.warning("no task can be tried from queue %r, set a health_check: %s", name, exc)
                self._refused.add(name)
                continue
            self._refused.discard(name)
            if message is not None:
                self._loop.fetched(message, name)
                return message
        return None

    def _get(self, queue: Queue) -> Message | None:
        """From a channel of its own, since all other queues are consumed on the worker's."""
        if self._channel is None:
            self._channel = polling.hurried(self._consumer.connection.channel())
        if polling.polls(self._channel) and not self._channel.queue_declare(queue.name, passive=True).message_count:
            return None
        return queue.bind(self._channel).get(no_ack=False, accept=self._consumer.task_consumer.accept)

    def handle(self, message: Message) -> None:
        """Have the worker receive a message that was fetched."""
        self._consumer.task_consumer.on_message(message)
