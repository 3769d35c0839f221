"""Many message stores in one test: a bus of messages that can be late, lost, doubled or kept from some, and a clock."""

from __future__ import annotations

import heapq
import itertools
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace

from celery_breaker.clock import ManualClock
from celery_breaker.core.record import Record
from celery_breaker.stores.conversation import Conversation
from celery_breaker.stores.message import MessageStore

START = 1_000_000.0
STEP = 0.01


class Peer:
    """One process: its store, its part in the conversation, and its end of the bus. Implements `Peers`."""

    alone = False

    def __init__(self, net: Net, name: str, *, member: bool, skew: float) -> None:
        self.net = net
        self.name = name
        self.store = MessageStore(clock=lambda: net.clock() + skew, pause=self._wait)
        self.store.connect(self)
        self.talk = Conversation(self.store, me=name, member=member, clock=net.clock, uniform=net.chance.random)
        self.changed: list[str] = []

    def _wait(self, seconds: float) -> None:
        self.net.paused(seconds)

    def reach(self) -> None:
        """Nobody waits here."""

    def sent(self) -> None:
        """It is, or it is lost."""

    def after_fork(self) -> None:
        """No test of this forks."""

    def close(self) -> None:
        """Nothing to give back."""

    def tell(self, note: Mapping[str, object]) -> None:
        self.net.send(self, note)

    def ask(self) -> None:
        for note in self.talk.question():
            self.tell(note)

    def record(self, name: str = "smtp") -> Record:
        """Without its version, which is this process's own."""
        return replace(self.store.read([name]).records[name], version=0)

    def write(self, step: Callable[[Record, float], Record], name: str = "smtp") -> Record:
        """Change a record as the engine does."""
        before = self.store.read([name]).records[name]
        after = step(before, self.store.now())
        if after is not before:
            assert self.store.swap(after, expected=before.version)
        return after


class Net:
    """A bus that delivers after up to ``delay`` seconds.

    Attributes:
        loss, double: how likely it is that a message gets lost, or comes twice, for each that should hear it.
        parts: peers hear only those of the same part; nobody is in a part of his own.
        sent: every message that was sent, as (who, note).
        paused: what happens while somebody waits for his claim to settle.
    """

    def __init__(self, size: int = 0, *, seed: int = 0, delay: float = 0.02, skew: float = 0.0) -> None:
        self.clock = ManualClock(START)
        self.chance = random.Random(seed)
        self.delay = delay
        self.skew = skew
        self.loss = self.double = 0.0
        self.parts: dict[str, int] = {}
        self.peers: list[Peer] = []
        self.sent: list[tuple[str, Mapping[str, object]]] = []
        self.paused: Callable[[float], None] = self.run
        self._on_the_way: list[tuple[float, int, Peer, str]] = []
        self._numbers = itertools.count()
        for _ in range(size):
            self.join()

    def join(self, *, member: bool = True) -> Peer:
        """One more process; it has asked nobody yet."""
        skew = self.chance.uniform(-self.skew, self.skew)
        self.peers.append(Peer(self, f"p{len(self.peers)}", member=member, skew=skew))
        return self.peers[-1]

    def send(self, sender: Peer, note: Mapping[str, object]) -> None:
        self.sent.append((sender.name, note))
        body = json.dumps({**note, "by": sender.name})  # what is no JSON cannot be told
        for peer in self.peers:
            apart = self.parts.get(sender.name) != self.parts.get(peer.name)
            for _ in range(2 if self.chance.random() < self.double else 1):
                if not apart and self.chance.random() >= self.loss:
                    at = self.clock() + self.chance.uniform(0, self.delay)
                    heapq.heappush(self._on_the_way, (at, next(self._numbers), peer, body))

    def run(self, seconds: float) -> None:
        """Let time pass, and messages arrive."""
        end = self.clock() + seconds
        while self.clock() < end:
            self.clock.advance(min(STEP, end - self.clock()))
            while self._on_the_way and self._on_the_way[0][0] <= self.clock():
                _, _, peer, body = heapq.heappop(self._on_the_way)
                peer.changed += peer.talk.hear(json.loads(body))
            for peer in self.peers:
                for note in peer.talk.due()[0]:
                    peer.tell(note)

    def split(self, *parts: list[Peer]) -> None:
        """A partition: each part hears itself alone."""
        self.parts = {peer.name: number for number, part in enumerate(parts) for peer in part}

    def heal(self) -> None:
        """All hear all again; each notices a connection that is new, and asks."""
        self.parts, self.loss, self.double = {}, 0.0, 0.0
        for peer in self.peers:
            peer.ask()

    def agreed(self, name: str = "smtp") -> bool:
        """Whether all have the same record."""
        return len({repr(peer.record(name)) for peer in self.peers}) == 1
