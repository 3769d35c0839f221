"""`kill -9` of workers, of pool processes, of beat and of who holds the agent's lease, while a service comes and goes.

Nothing is lost, and what runs again is what the broker gave out again: no more than was in hand at the kills.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.chaos.audit import Ledger, at_moments, audited_redis, judged, redelivered, settled
from tests.chaos.chance import Chance
from tests.support.breakers import QUICK, breaker_in, conf
from tests.support.processes import Process
from tests.support.service import Service
from tests.support.workers import Worker, WorkerFactory

CONCURRENCY, PREFETCH = 2, 4
IN_HAND = PREFETCH + 1
"""Messages in the hands of one worker on Redis: what it prefetches, and one that kombu had asked for before."""

POLICY = {**QUICK, "recovery_timeout": 0.5, "probe_timeout": 1.0, "ramp_start": 100}
CONF = {
    "breakers": {"svc": POLICY},
    "breaker_tend_interval": 0.5,
    "worker_prefetch_multiplier": PREFETCH // CONCURRENCY,
    "result_backend": None,
}
BURSTS, BURST = 6, 15
WINDOW = 1.5
"""Seconds in which all of a round's faults fall."""


@dataclass
class Fleet:
    """Two workers and a beat; any of them may be killed, and is started again."""

    workers: list[Worker]
    beat: Process
    holder: Callable[[], str]
    chance: Chance
    killed: Counter[str] = field(default_factory=Counter)

    def kill(self, what: str) -> Process:
        """Kill; returns the process that must be started again (or that lives on)."""
        self.killed[what] += 1
        victim = self._victim(what)
        if what == "main":
            victim.signal(signal.SIGKILL)
            victim.wait()  # ends the pool processes, which have outlived it by a moment
        elif what == "pool process":
            assert isinstance(victim, Worker)
            if pids := victim.pool_pids():
                os.kill(self.chance.random.choice(pids), signal.SIGKILL)
        else:
            victim.kill()
        return victim

    def _victim(self, what: str) -> Process:
        if what == "beat":
            return self.beat
        if what == "agent":
            hostname = self.holder().partition(":")[0]
            for worker in self.workers:
                if worker.hostname == hostname:
                    self.killed["agent, holding the lease"] += 1
                    return worker
        return self.chance.random.choice(self.workers)

    def most_in_hand(self) -> int:
        """How many messages can have been in hand at the kills so far, on Redis."""
        whole = sum(self.killed[what] for what in ("main", "group", "agent"))
        return whole * IN_HAND + self.killed["pool process"]


KINDS = ("group", "agent", "main", "pool process", "beat")


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_a_kill_loses_nothing_and_repeats_no_more_than_was_in_hand(
    kind: str,
    worker_factory: WorkerFactory,
    beat_factory: Any,
    make_broker: Any,
    make_redis: Any,
    redis_server: Any,
    service: Service,
    chance: Chance,
) -> None:
    broker = audited_redis(make_redis) if kind == "redis" else make_broker(kind)
    settings = conf(redis_server, **CONF)
    workers = [worker_factory(broker=broker, backend=None, concurrency=2, conf=settings, wait=False) for _ in range(2)]
    for worker in workers:
        worker.wait_ready()
    seen = breaker_in(workers[0].app, "svc")

    def holder() -> str:
        with redis_server.client(2) as client:
            found = client.zrange(f"{settings['breaker_store_prefix']}:{{agent}}:lease", 0, -1)
        return found[0].decode() if found else ""

    fleet = Fleet(workers, beat_factory(workers[0].conf), holder, chance)
    ledger = Ledger(service)
    states: Counter[str] = Counter()
    kinds = list(KINDS)
    for number in range(chance.rounds(short=2, long=50)):
        if number % len(KINDS) == 0:
            chance.random.shuffle(kinds)
        what = kinds[number % len(KINDS)]
        _round(fleet, ledger, service, lambda what=what: (states.update([seen.state]), fleet.kill(what)))
    settled(ledger, broker, seen)
    for worker in fleet.workers:
        worker.stop()
    print(f"killed: {dict(fleet.killed)}, while the breaker was {dict(states)}")  # noqa: T201
    if kind == "redis":
        most = fleet.most_in_hand()
    else:
        most = redelivered(broker, at_least=sum(ledger.twice().values()))
    judged(ledger, broker, most=most, what=f"kills on {kind}")


def _round(fleet: Fleet, ledger: Ledger, service: Service, kill: Callable[[], tuple[None, Process]]) -> None:
    """Bursts of tasks, an outage and a kill, each at a random moment; then whoever was killed is started again."""
    uniform = fleet.chance.random.uniform
    down = uniform(0, WINDOW / 2)
    victims: list[Process] = []
    at_moments(
        (down, service.go_down),
        (uniform(down, WINDOW), service.come_back),
        (uniform(0, WINDOW), lambda: victims.append(kill()[1])),
        *((uniform(0, WINDOW), lambda: ledger.send(BURST)) for _ in range(BURSTS)),
    )
    for victim in victims:
        if not victim.running:
            victim.start()
            if isinstance(victim, Worker):
                victim.wait_ready()
