"""The worker's main loop, seen from other threads: how to run something on it, and what it consumes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery.worker import state as worker_state

from celery_breaker.engine.news import isolated
from celery_breaker.plugin import waker
from celery_breaker.plugin.parking.origin import origin_queue
from celery_breaker.plugin.parking.redis import forget_locally

if TYPE_CHECKING:
    from kombu import Message, Queue

__all__ = ["MainLoop"]

_WAYS = 1000
"""Ways that messages come (consumer, exchange, routing key) whose queue is remembered."""

_TASKS = "task"
"""The group of events that monitors turn on and off."""


class MainLoop:
    """Stands for the loop of one worker across its reconnections.

    Attributes:
        connections: grows with each loss of the connection; messages of an earlier one cannot be acknowledged any more.
    """

    def __init__(self) -> None:
        self.connections = 0
        self._consumer: Any = None
        self._waker: waker.Waker | None = None
        self._origins: dict[tuple[str, str, str], str] = {}
        self._forgotten: deque[Message] = deque()
        self._remembered: dict[str, Queue] = {}
        self._tags: dict[str, str] = {}

    @property
    def evented(self) -> bool:
        """Whether the worker has an event loop that another thread can wake."""
        return self._consumer is not None and self._consumer.hub is not None

    @property
    def forks(self) -> bool:
        """Whether tasks run in processes of their own."""
        return self._consumer is not None and type(self._consumer.pool).__module__.endswith(".prefork")

    @property
    def connection_errors(self) -> tuple[type[BaseException], ...]:
        """What acknowledging a message may raise."""
        return self._consumer.connection_errors if self._consumer is not None else ()

    def attach(self, consumer: Any) -> None:
        """This consumer is the one now."""
        self._consumer = consumer
        self._origins.clear()
        self._forgotten.clear()  # of an earlier connection, whose loop may never have looked
        self._remembered.clear()
        self._tags.clear()

    def lost(self) -> None:
        """Its connection is gone."""
        self.connections += 1

    def soon(self, call: Callable[[], object]) -> None:
        """Run on the main loop as soon as it can. Without an event loop: here and now where the pool takes tasks from
        any thread, else (solo) within two seconds.
        """
        consumer = self._consumer
        if consumer is None:
            return
        if consumer.hub is None and not _is_solo(consumer):
            isolated(call)
        else:
            self.turn(call)

    def turn(self, call: Callable[[], object]) -> None:
        """Run between two turns of the main loop and never beside it, as what uses its connection must: as soon as it
        can, without an event loop within two seconds.
        """
        if self._consumer is not None:
            self._consumer.call_soon(isolated, call)
            self.wake()

    def wake(self) -> None:
        """Have the loop look now at what it was given by `call_soon`, as Celery's own acknowledging is."""
        if self._waker is not None:
            self._waker.wake()

    def listen(self, hub: Any) -> None:
        """The consumer is about to enter this loop."""
        if waker.needed(hub):
            self._waker = self._waker or waker.Waker()
            self._waker.register(hub)

    @property
    def busy(self) -> bool:
        """Whether a task that came now would have to wait for a slot."""
        pool = self._consumer.pool if self._consumer is not None else None
        return pool is not None and len(worker_state.reserved_requests) >= pool.num_processes

    def run(self, request: Any) -> None:
        """Send a request to the pool the way the consumer does."""
        self._consumer.on_task_request(request)

    @property
    def monitored(self) -> bool:
        """Whether this worker sends task events: since its start (``-E``), or since it was told to."""
        dispatcher = getattr(self._consumer, "event_dispatcher", None)
        return bool(dispatcher is not None and dispatcher.enabled and _TASKS in (dispatcher.groups or {_TASKS}))

    def tell(self, kind: str, **fields: object) -> None:
        """Tell monitors of breakers, if they are told of tasks."""
        if self.monitored:
            if groups := self._consumer.event_dispatcher.groups:
                groups.add("breaker")  # those that are sent at all; empty for all
            self.send_event(kind, **fields)

    def send_event(self, kind: str, **fields: object) -> None:
        """Tell monitors, if this worker does."""
        dispatcher = getattr(self._consumer, "event_dispatcher", None)
        if dispatcher is not None and dispatcher.enabled:
            self.soon(lambda: dispatcher.send(kind, **fields))

    def forget(self, message: Message) -> None:
        """Free the place of a message that the broker has forgotten already, and let the loop notice."""
        self._forgotten.append(message)
        if len(self._forgotten) == 1:  # else the loop has been told, and has yet to look
            self.soon(self._forget)

    def _forget(self) -> None:
        while self._forgotten:
            isolated(forget_locally, self._forgotten.popleft())

    def remember(self, queue: Queue) -> None:
        """This queue is about to be consumed no more; what came from it may be in hand still."""
        self._remembered[queue.name] = queue
        if tag := self._consumer.task_consumer._active_tags.get(queue.name):
            self._tags[tag] = queue.name

    def fetched(self, message: Message, queue: str) -> None:
        """This message was taken from that queue, and not consumed."""
        tag = f"celery-breaker.fetched:{queue}"
        self._tags[tag] = queue
        message.delivery_info = {**(message.delivery_info or {}), "consumer_tag": tag}

    def origin(self, message: Message) -> str | None:
        """The queue that a message came from; see `origin_queue`. Asks the broker once for each way that they come."""
        consumer, info = self._consumer, message.delivery_info or {}
        if consumer is None or consumer.task_consumer is None:
            return None
        way = (str(info.get("consumer_tag")), str(info.get("exchange")), str(info.get("routing_key")))
        if way in self._origins:
            return self._origins[way]
        tags = {tag: queue for queue, tag in consumer.task_consumer._active_tags.items()}
        queues = {**self._remembered, **{queue.name: queue for queue in consumer.task_consumer.queues}}
        origin = origin_queue(message, list(queues.values()), {**self._tags, **tags})
        if origin is not None and len(self._origins) < _WAYS:
            self._origins[way] = origin
        return origin


def _is_solo(consumer: Any) -> bool:
    return type(consumer.pool).__module__.endswith(".solo")
