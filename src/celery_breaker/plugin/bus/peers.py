"""The peers of a `MessageStore`: its conversation, carried by a bus of its own."""

from __future__ import annotations

import logging
import threading
import uuid
from typing import TYPE_CHECKING
from urllib.parse import quote

from celery_breaker.errors import StoreError
from celery_breaker.plugin.bus.bus import Bus, delay_of, fanout
from celery_breaker.stores.conversation import BEAT, Conversation
from celery_breaker.stores.message import MessageStore, Note

if TYPE_CHECKING:
    from celery import Celery

    from celery_breaker.engine.registry import Registry

__all__ = ["BusPeers"]

logger = logging.getLogger(__name__)

_PATIENCE = 0.4
"""Seconds between two tries to connect, so that both sides of a partition agree soon after its end."""

_LONGEST_PAUSE = 60.0

_inherited: list[Bus] = []
"""Those of the parent of a forked process, whose connections must not be closed here, not even by being forgotten."""


class BusPeers:
    """Implements `Peers` on the app's broker.

    A worker is a *member*: it speaks for the fleet, and needs nobody. Any other process (the command line, a web
    server, a pool process in whose tasks a `Breaker` is used) is a guest: it joins at the first use, with two
    connections to the broker, and without an answer from a member its store counts as out of reach.

    Args:
        app: whose broker it is.
        store: what this process knows; it is connected to these peers.
        prefix: fleets of other prefixes are not heard.
        timeout: seconds that whoever joins waits for an answer.
        registry: is hinted at each breaker of which something was heard.
    """

    def __init__(self, app: Celery, store: MessageStore, *, prefix: str, timeout: float, registry: Registry) -> None:
        self._app = app
        self._store = store
        self._exchange = fanout(f"celery_breaker.peers.{quote(prefix, safe=':')}")
        self._timeout = timeout
        self._registry = registry
        self._begin(member=False)
        self.alone: bool = not self._bus.possible
        store.connect(self)

    def _begin(self, *, member: bool) -> None:
        self._lock = threading.Lock()
        self._answered = threading.Event()
        self._waited = self._gap = False
        self._conversation = Conversation(self._store, me=uuid.uuid4().hex, member=member)
        self._bus = Bus(
            self._app,
            exchange=self._exchange,
            heard=self._heard,
            joined=self._ask,
            turn=self._speak,
            lost=self._lost,
            persistent=False,
            patience=_PATIENCE,
            silence=5 * BEAT,
            otherwise="each worker goes on with what it knows",
        )

    def listen(self) -> None:
        """Become a member, and hear the others from now on."""
        self._conversation.member = True
        self._bus.listen()

    def stop(self) -> None:
        """Leave, after what is left to say."""
        self._bus.stop()

    # --- Peers --------------------------------------------------------------------------------------------------------

    def reach(self) -> None:
        """See `Peers.reach`. A member waits once, a guest whenever it has no answer."""
        if self.alone or self._answered.is_set() or (self._conversation.member and self._waited):
            return
        with self._lock:
            self._bus.listen()
        answered = self._answered.wait(self._timeout)
        self._waited = True
        if not answered and not self._conversation.member:
            raise StoreError(f"no worker answered on the bus within {self._timeout:g} s")

    def tell(self, note: Note) -> None:
        """See `Peers.tell`."""
        self._bus.send({**note, "by": self._conversation.me, "at": self._registry.link.now()})

    def sent(self) -> None:
        """See `Peers.sent`."""
        if not self.alone and not self._conversation.member and not self._bus.flush(self._timeout):
            raise StoreError(f"the bus took no message within {self._timeout:g} s")

    def after_fork(self) -> None:
        """See `Peers.after_fork`."""
        _inherited.append(self._bus)
        self._begin(member=False)

    def close(self) -> None:
        """See `Peers.close`."""
        self.stop()

    # --- the bus's threads --------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        for note in self._conversation.question():
            self.tell(note)

    def _lost(self) -> None:
        """What was told is lost perhaps; to ask anew, once the bus takes messages, finds out who lacks what."""
        self._gap = True
        self._answered.clear()

    def _heard(self, body: object) -> None:
        for name in self._conversation.hear(body):
            self._registry.hint(name)
        if (delay := delay_of(body, self._registry.link.now())) is not None:
            self._registry.meters.bus_delayed(delay)
        if self._conversation.answered:
            self._answered.set()
        self._bus.wake()

    def _speak(self) -> float:
        if self._gap:
            self._gap = False
            self._ask()
        notes, pause = self._conversation.due()
        for note in notes:
            self.tell(note)
        return min(pause, _LONGEST_PAUSE)
