"""A broker goes down and comes back while tasks are parked, are being parked, or are being released.

Redis, broker and store in one, is killed and starts again from its append-only file; RabbitMQ is stopped or killed and
starts again from its durable queues. Nothing is lost, the workers reconnect and the breaker recovers.
"""

from __future__ import annotations

import itertools
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.audit import Ledger, audited_redis, judged, settled
from tests.chaos.audit_stop import GIVEN_UP, ended
from tests.chaos.chance import Chance
from tests.support.breakers import QUICK, Seen, breaker_in, conf
from tests.support.servers import RedisServer
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import Broker, Worker, WorkerFactory

CONCURRENCY, PREFETCH, WORKERS = 2, 4, 2
IN_HAND = PREFETCH + 1
BURST = 150
CONF = {
    "breakers": {"svc": {**QUICK, "recovery_timeout": 0.5, "probe_timeout": 2.0, "ramp_start": 60}},
    "breaker_tend_interval": 0.5,
    "worker_prefetch_multiplier": PREFETCH // CONCURRENCY,
    "task_publish_retry_policy": {"max_retries": 20, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.5},
    "broker_connection_retry": True,
    "broker_connection_max_retries": None,
}
PHASES = ("being parked", "parked", "being released")


@dataclass
class Stage:
    """What one round plays on.

    Attributes:
        down: takes the broker down.
        given_up: workers that Celery itself ended, see `audit_stop`; whatever supervises workers starts them again.
        read: by worker, how much of its log has been looked at.
    """

    broker: Broker
    workers: list[Worker]
    service: Service
    ledger: Ledger
    chance: Chance
    down: Callable[[], object]
    given_up: int = 0
    read: Counter[str] = field(default_factory=Counter)
    seen: Seen = field(init=False)

    def __post_init__(self) -> None:
        self.seen = breaker_in(self.workers[0].app, "svc")

    def round(self, phase: str) -> None:
        """An outage of the service, and in this phase of it one of the broker."""
        self._open()
        self.ledger.send(BURST)
        if phase == "being parked":
            self._wait(self.seen.parked, "parking should begin")
        else:
            self._wait(lambda: self.seen.parked() > BURST * 0.9, "they should be parked")
        if phase == "being released":
            self.service.come_back()
            full = self.seen.parked()
            self._wait(lambda: self.seen.parked() < full - 1, "release should begin")
        self._restart_broker()
        if phase != "being released":
            self.service.come_back()
        self._wait(lambda: self.seen.state == "closed", f"the breaker should close ({phase})")
        self._wait(lambda: self.seen.parked() == 0, f"all should be released ({phase})")

    def _open(self) -> None:
        self.service.go_down()
        self.ledger.send(3)
        self._wait(lambda: self.seen.state == "open", "the breaker should trip")

    def _wait(self, condition: Callable[[], object], message: str) -> None:
        def supervised() -> object:
            self._supervise()
            return condition()

        def found() -> str:
            return f"{message}; {self.seen.state}, parked: {self.seen.parked()}"

        eventually(supervised, found, timeout=60, interval=0.1)

    def _supervise(self) -> None:
        for worker in self.workers:
            said = worker.logs().find(GIVEN_UP, self.read[worker.name])
            if said >= 0:
                ended(worker, since=said)
                self.given_up += 1
                self.read[worker.name] = len(worker.logs())
                worker.start()
            assert worker.running, f"{worker.name} ended:\n{worker.tail()}"

    def _restart_broker(self) -> None:
        time.sleep(self.chance.random.uniform(0, 0.3))
        self.down()
        time.sleep(self.chance.random.uniform(0, 2))
        assert self.broker.server is not None
        self.broker.server.start()


def _play(stage: Stage, rounds: int) -> None:
    phases = list(PHASES)
    stage.chance.random.shuffle(phases)
    played = list(itertools.islice(itertools.cycle(phases), rounds))
    for phase in played:
        stage.round(phase)
    settled(stage.ledger, stage.broker, stage.seen)
    for worker in stage.workers:
        before = len(worker.logs())
        worker.signal(signal.SIGTERM)
        ended(worker, since=before)
    print(f"{rounds} rounds, {' / '.join(phases)} in turn; Celery gave up {stage.given_up} workers")  # noqa: T201
    most = rounds * WORKERS * IN_HAND
    if stage.broker.kind == "rabbitmq":  # the agent too has messages in hand: all that it may be about to release
        most += sum(phase == "being released" for phase in played) * BURST
    judged(stage.ledger, stage.broker, most=most, what=f"{stage.broker.kind} goes down and comes back")


def _workers(worker_factory: WorkerFactory, **options: Any) -> list[Worker]:
    workers = [worker_factory(concurrency=CONCURRENCY, wait=False, loglevel="DEBUG", **options) for _ in range(WORKERS)]
    for worker in workers:
        worker.wait_ready()
    return workers


def test_redis_broker_and_store_in_one_is_killed_and_comes_back(
    worker_factory: WorkerFactory, make_redis: Any, service: Service, chance: Chance
) -> None:
    broker = audited_redis(make_redis, "--appendfsync", "always")
    server = broker.server
    assert isinstance(server, RedisServer)
    settings = conf(server, **CONF)
    workers = _workers(worker_factory, broker=broker, backend=server.url_for(1), conf=settings)
    stage = Stage(broker, workers, service, Ledger(service), chance, server.kill)
    _play(stage, chance.rounds(short=2, long=30))


def test_rabbitmq_is_stopped_or_killed_and_comes_back(
    worker_factory: WorkerFactory, make_rabbitmq: Any, redis_server: Any, service: Service, chance: Chance
) -> None:
    server = make_rabbitmq()
    options = {"confirm_publish": True}
    broker = Broker("rabbitmq", {"broker_url": server.url, "broker_transport_options": options}, server)
    workers = _workers(worker_factory, broker=broker, backend=None, conf=conf(redis_server, **CONF))

    def down() -> None:
        server.stop() if chance.random.random() < 0.5 else server.kill()

    stage = Stage(broker, workers, service, Ledger(service), chance, down)
    _play(stage, chance.rounds(short=1, long=9))
