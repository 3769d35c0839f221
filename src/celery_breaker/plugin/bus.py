"""The bus: a fanout exchange on which transitions are announced. A hint: losing all of them costs latency only."""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any

from kombu import Consumer, Exchange, Producer, Queue

from celery_breaker.core.events import Change
from celery_breaker.engine.background import Background
from celery_breaker.plugin.connections import close_quietly, connected

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Connection

    from celery_breaker.engine.registry import Registry

__all__ = ["EXCHANGE", "Bus"]

logger = logging.getLogger(__name__)

EXCHANGE = Exchange("celery_breaker.bus", type="fanout", durable=False, auto_delete=False, delivery_mode=1)

_LAST_PAUSE = 5.0
_MANY = 1000
"""Announcements kept while the broker is away; older ones are dropped, for the store has them."""


class Bus:
    """Announces this process's changes and listens to the others', on connections and threads of its own."""

    def __init__(self, app: Celery, registry: Registry) -> None:
        self._app = app
        self._registry = registry
        self._outbox: deque[dict[str, Any]] = deque(maxlen=_MANY)
        self._sending: Connection | None = None
        self._stopping = threading.Event()
        self._announcer = Background(self._send, name="celery-breaker-announcer")
        self._listener = threading.Thread(target=self._listen, name="celery-breaker-bus", daemon=True)
        self._complained = False
        self._pid = os.getpid()

    @property
    def possible(self) -> bool:
        """Whether this transport has a fanout; others are left to polling."""
        return "fanout" in self._app.connection_for_write().transport.implements.exchange_type

    def listen(self) -> None:
        """Hear the others from now on."""
        if self.possible:
            self._listener.start()
        else:
            logger.info("this transport has no fanout: transitions are seen at the next refresh")

    def announce(self, change: Change) -> None:
        """Tell the others to look. Never waits."""
        if not self.possible:
            return
        if self._pid != os.getpid():  # a pool process: the parent's connection and thread are not ours
            self._pid, self._sending = os.getpid(), None
            self._announcer = Background(self._send, name="celery-breaker-announcer")
        self._outbox.append({"name": change.name, "version": change.version})
        self._announcer.wake()

    def stop(self) -> None:
        """Stop both threads; the listener ends within a second."""
        self._stopping.set()
        self._announcer.stop(timeout=1.0)

    def _send(self) -> float:
        while self._outbox:
            try:
                if self._sending is None:
                    self._sending = connected(self._app, timeout=2)
                note = self._outbox[0]
                with Producer(self._sending.default_channel, exchange=EXCHANGE) as producer:
                    producer.publish(note, serializer="json", declare=[EXCHANGE], retry=False, expiration=10)
                self._outbox.popleft()
            except Exception as exc:
                self._complain(exc)
                close_quietly(self._sending)
                self._sending = None
                return 1.0
        return 60.0

    def _listen(self) -> None:
        pause = 0.5
        while not self._stopping.is_set():
            connection = self._app.connection_for_read()
            try:
                connection.ensure_connection(max_retries=1, timeout=2)
                channel = connection.default_channel
                queue = Queue(
                    f"celery_breaker.bus.{uuid.uuid4().hex}",
                    exchange=EXCHANGE,
                    channel=channel,
                    durable=False,
                    exclusive=True,
                    auto_delete=True,
                )
                with Consumer(channel, [queue], callbacks=[self._heard], no_ack=True, accept=["json"]):
                    pause, self._complained = 0.5, False
                    self._drain(connection)
            except Exception as exc:
                self._complain(exc)
                self._stopping.wait(pause)
                pause = min(pause * 2, _LAST_PAUSE)
            finally:
                close_quietly(connection)

    def _drain(self, connection: Connection) -> None:
        while not self._stopping.is_set():
            try:
                connection.drain_events(timeout=1.0)
            except TimeoutError:
                connection.heartbeat_check()

    def _heard(self, body: Any, message: Any) -> None:
        name = body.get("name") if isinstance(body, dict) else None
        if isinstance(name, str):
            self._registry.hint(name)

    def _complain(self, exc: Exception) -> None:
        if not self._complained and not self._stopping.is_set():
            logger.warning("the bus is down, transitions are seen at the next refresh: %r", exc)
        self._complained = True
