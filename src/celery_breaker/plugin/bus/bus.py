"""The bus: a fanout exchange on which processes tell each other news, on connections and threads of its own."""

from __future__ import annotations

import logging
import os
import random
import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kombu import Consumer, Exchange, Producer, Queue

from celery_breaker.clock import monotonic
from celery_breaker.core.events import Change
from celery_breaker.engine.background import Background
from celery_breaker.engine.news import isolated
from celery_breaker.plugin.connections import close_quietly

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Connection

    from celery_breaker.engine.registry import Registry

__all__ = ["Bus", "delay_of", "fanout", "has_fanout", "hints"]

logger = logging.getLogger(__name__)

_LAST_PAUSE = 5.0
_MANY = 1000
"""Announcements kept while the broker is away; older ones are dropped."""

_LONGEST_DELAY = 3600.0
"""Seconds; no message is older, so whoever says so has no clock to go by."""

_LARGEST = 1_000_000
"""Bytes of a message; nobody of us sends so much."""

_ANSWER = 5.0
"""Seconds that Redis may take to answer, if the app does not say so itself."""

_POLLED = {"memory": 0.02, "filesystem": 0.1}
"""Transports that look for messages from time to time, and how often is quick enough; seconds."""

_inherited: list[Connection] = []
"""Connections of the parent of a forked process: to close one, if only for want of references, would close the other's.
"""


def fanout(name: str) -> Exchange:
    """An exchange for news."""
    return Exchange(name, type="fanout", durable=False, auto_delete=False, delivery_mode=1)


def _connect(connection: Connection) -> None:
    connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=2)


def has_fanout(connection: Connection) -> bool:
    """Whether this transport delivers one message to all who listen; that in memory does not say so of itself."""
    transport = connection.transport
    return "fanout" in transport.implements.exchange_type or transport.driver_type == "memory"


class Bus:
    """Sends what this process has to tell, and hears the others.

    Args:
        app: whose broker it is.
        exchange: see `fanout`.
        heard: called with each message, itself from a thread of the bus; this process's own are among them.
        joined: called each time that this process has begun to hear the others.
        turn: called before each sending; the seconds until it is to be called again.
        persistent: keep what cannot be sent until it can; else it is dropped, and `lost` is called.
        lost: called when a connection is gone.
        patience: seconds between two tries to connect, at the most.
        silence: seconds after which a connection that brings nothing, not even this process's own, is made anew.
        otherwise: what becomes of news while the bus is down, for the log.
    """

    def __init__(
        self,
        app: Celery,
        *,
        exchange: Exchange,
        heard: Callable[[object], object],
        joined: Callable[[], object] = lambda: None,
        turn: Callable[[], float] = lambda: 60.0,
        lost: Callable[[], object] = lambda: None,
        persistent: bool = True,
        patience: float = _LAST_PAUSE,
        silence: float | None = None,
        otherwise: str = "transitions are seen at the next refresh",
    ) -> None:
        self._app = app
        self._exchange = exchange
        self._on_message = heard
        self._joined = joined
        self._lost = lost
        self._turn = turn
        self._persistent = persistent
        self._patience = patience
        self._silence = silence
        self._heard_at = monotonic()
        self._otherwise = otherwise
        self._complained = self._unreadable = False
        self._begin()

    def _begin(self) -> None:
        self._outbox: deque[Mapping[str, object] | threading.Event] = deque(maxlen=_MANY)
        self._stopping = threading.Event()
        self._sending: Connection | None = None
        self._aged = False
        self._announcer = Background(self._send, name="celery-breaker-announcer")
        self._listener = threading.Thread(target=self._listen, name="celery-breaker-bus", daemon=True)
        self._pid = os.getpid()

    @cached_property
    def possible(self) -> bool:
        """Whether this transport has a fanout; others are left to polling."""
        return has_fanout(self._app.connection_for_write())

    @property
    def listening(self) -> bool:
        """Whether `listen` has been called in this process."""
        return self._pid == os.getpid() and self._listener.ident is not None

    def listen(self) -> None:
        """Hear the others from now on."""
        if not self.possible:
            logger.info("this transport has no fanout: %s", self._otherwise)
        elif not self.listening:
            self._own()
            self._listener.start()

    def send(self, note: Mapping[str, object]) -> None:
        """Tell the others. Never waits."""
        if not self.possible:
            return
        self._own()
        self._outbox.append(note)
        self._announcer.wake()

    def wake(self) -> None:
        """Have ``turn`` called soon. Never waits."""
        self._announcer.wake()

    def flush(self, timeout: float) -> bool:
        """Wait until all is sent that there is to send now; whether it was."""
        sent = threading.Event()
        self._outbox.append(sent)
        self._announcer.wake()
        return sent.wait(timeout)

    def stop(self) -> None:
        """Stop both threads; the listener ends within a second."""
        self._stopping.set()
        self._announcer.stop(timeout=1.0)
        if self._pid == os.getpid() and not self._announcer.running:
            sending, self._sending = self._sending, None
            close_quietly(sending)

    def _own(self) -> None:
        """In a forked process the parent's connection and threads are not ours."""
        if self._pid != os.getpid():
            if self._sending is not None:
                _inherited.append(self._sending)
            self._begin()

    def _send(self) -> float:
        pause = self._turn()
        while self._outbox:
            try:
                note = self._outbox[0]
                if isinstance(note, threading.Event):
                    note.set()
                else:
                    self._publish(note)
                self._outbox.popleft()
            except Exception as exc:
                self._complain(exc)
                aged, self._aged = self._aged, False
                close_quietly(self._sending)
                self._sending = None
                if aged:
                    isolated(self._lost)
                    continue  # it was broken long ago perhaps, and nobody noticed: a new one may do
                if not self._persistent:
                    self._outbox.clear()
                isolated(self._lost)
                return min(1.0, self._patience)
        return pause

    def _publish(self, note: Mapping[str, object]) -> None:
        if self._sending is None:
            self._sending = self._app.connection_for_write(transport_options=self._options())
            _connect(self._sending)
        with Producer(self._sending.default_channel, exchange=self._exchange) as producer:
            producer.publish(note, serializer="json", declare=[self._exchange], retry=False, expiration=10)
        self._aged = True

    def _listen(self) -> None:
        pause = 0.5
        while not self._stopping.is_set():
            connection = self._app.connection_for_read(transport_options=self._options())
            try:
                _connect(connection)
                channel = connection.default_channel
                queue = Queue(
                    f"{self._exchange.name}.{uuid.uuid4().hex}",
                    exchange=self._exchange,
                    channel=channel,
                    durable=False,
                    exclusive=True,
                    auto_delete=True,
                )
                consumer = Consumer(
                    channel,
                    [queue],
                    callbacks=[self._heard],
                    on_decode_error=self._not_read,
                    no_ack=True,
                    accept=["json"],
                )
                with consumer:
                    self._drain_once(connection, 0.01)  # Redis subscribes with the first look
                    pause, self._complained = 0.5, False
                    self._heard_at = monotonic()
                    isolated(self._joined)
                    while not self._stopping.is_set():
                        self._drain_once(connection, 1.0)
                        if self._silence is not None and monotonic() - self._heard_at > self._silence:
                            raise ConnectionError(f"nothing was heard for {self._silence:g} s")
            except Exception as exc:
                self._complain(exc)
                isolated(self._lost)
                self._stopping.wait(min(pause, self._patience) * (0.5 + random.random()))
                pause = min(pause * 2, self._patience)
            finally:
                close_quietly(connection)

    def _options(self) -> dict[str, float]:
        """What these connections are to do otherwise than those that tasks come by."""
        kind = self._app.connection_for_read().transport.driver_type
        if kind == "redis":
            return {"socket_timeout": _ANSWER, **(self._app.conf.broker_transport_options or {})}
        return {"polling_interval": _POLLED[kind]} if kind in _POLLED else {}

    def _drain_once(self, connection: Connection, timeout: float) -> None:
        try:
            connection.drain_events(timeout=timeout)
        except TimeoutError:
            connection.heartbeat_check()

    def _heard(self, body: Any, message: Any) -> None:
        self._heard_at = monotonic()
        if len(message.body or "") > _LARGEST:
            self._not_read(message, "it is too long")
        else:
            isolated(self._on_message, body)

    def _not_read(self, message: Any, exc: object) -> None:
        if not self._unreadable:
            logger.warning("a message on the bus is not ours, and ignored: %s", exc)
        self._unreadable = True

    def _complain(self, exc: Exception) -> None:
        if not self._complained and not self._stopping.is_set():
            logger.warning("the bus is down, %s: %r", self._otherwise, exc)
        self._complained = True


def delay_of(body: object, now: float) -> float | None:
    """Seconds that a message took, if it says when it was sent; not every one does.

    Example:
        >>> delay_of({"at": 10.0}, 10.5), delay_of({"at": 10.0}, 9.9), delay_of({"at": "noon"}, 10.5)
        (0.5, 0.0, None)
    """
    at = body.get("at") if isinstance(body, dict) else None
    if not isinstance(at, (int, float)) or isinstance(at, bool):
        return None
    if not now - _LONGEST_DELAY < at < now + _LONGEST_DELAY:
        return None
    return max(0.0, now - at)


def hints(app: Celery, registry: Registry) -> Bus:
    """A bus on which transitions are announced: hints to look into the store. Losing all of them costs latency only."""

    def heard(body: object) -> None:
        name = body.get("name") if isinstance(body, dict) else None
        if isinstance(name, str):
            registry.hint(name)
            if (delay := delay_of(body, registry.link.now())) is not None:
                registry.meters.bus_delayed(delay)

    def announce(change: Change) -> None:
        bus.send({"name": change.name, "version": change.version, "at": registry.link.now()})

    bus = Bus(app, exchange=fanout("celery_breaker.bus"), heard=heard)
    registry.listeners.append(announce)
    return bus
