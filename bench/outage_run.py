"""One outage under one arm: real workers, a backlog that arrives as the service goes down, fresh tasks all along."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.outage_load import QUEUE, push
from bench.outage_tasks import BREAKER, GUARDED, NAIVE, SETTING
from bench.servers import Servers
from bench.workers import current_app, running_worker
from celery_breaker.plugin.parking.lot import parking_queue
from tests.support.waiting import eventually

if TYPE_CHECKING:
    import redis
    from celery import Celery

_TICK = 0.05
"""Seconds between two looks at the broker."""

_TRIAL = 1_000_000
"""Numbers from here on are those of the tasks by which capacity is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What every arm goes through. Times are seconds, rates per second.

    Attributes:
        backlog: tasks that arrive at once when the service goes down.
        rate: fresh tasks, from ``before`` the outage until all is done.
        seconds: of one call, by the state of the service.
        options: of the breaker; the others have their defaults.
        trial: plain tasks by which the workers' capacity is measured, before it all and after.
        patience: how long after the outage everything must be done.
    """

    backlog: int = 5000
    rate: float = 10.0
    before: float = 5.0
    outage: float = 60.0
    seconds: dict[str, float] = field(default_factory=lambda: {"up": 0.010, "down": 0.050})
    options: dict[str, Any] = field(
        default_factory=lambda: {"consecutive_failures": 5, "recovery_timeout": 5, "max_recovery_timeout": 10}
    )
    trial: int = 1000
    patience: float = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Which workers ride it out. ``visibility_timeout`` is Redis's, in seconds; ``None`` is kombu's hour."""

    name: str
    task: str = GUARDED
    workers: int = 2
    concurrency: int = 2
    visibility_timeout: int | None = None

    @property
    def slots(self) -> int:
        """Calls that can be under way at once."""
        return self.workers * self.concurrency


@dataclass(frozen=True, slots=True)
class Call:
    """One call that reached the service."""

    at: float
    up: bool
    number: int
    retries: int


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of the breaker, by the store's clock (Redis runs on this machine)."""

    at: float
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Sample:
    """Messages at one moment: waiting in the queue, in a worker's hand, and parked."""

    at: float
    queued: int
    in_hand: int
    parked: int

    @property
    def all(self) -> int:
        """Every message of the broker."""
        return self.queued + self.in_hand + self.parked


@dataclass(slots=True, kw_only=True)
class Run:
    """What happened. Times are Unix times.

    Attributes:
        sent: when each task was enqueued, by its number.
        capacity: plain tasks per second that these workers do while the service is up; mean of before and after.
    """

    arm: Arm
    scenario: Scenario
    sent: dict[int, float] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    down_at: float = 0.0
    up_at: float = 0.0
    capacity: float = 0.0


def ride_out(arm: Arm, scenario: Scenario) -> Run:
    """Run one arm on a Redis and workers of its own, all of which are gone afterwards."""
    run = Run(arm=arm, scenario=scenario)
    with Servers() as servers:
        server, folder = servers.redis(), servers.new_folder("service")
        conf: dict[str, Any] = {
            "imports": ["bench.outage_tasks"],
            "broker_url": server.url,
            "breakers": {BREAKER: scenario.options},
            SETTING: {"folder": str(folder), **scenario.seconds},
        }
        if arm.visibility_timeout is not None:
            conf["broker_transport_options"] = {"visibility_timeout": arm.visibility_timeout}
        with current_app(conf) as app, server.client() as client, _workers(arm, conf, servers):
            trials = [_trial(app, client, scenario, folder, 0)]
            _Outage(run, app, client, folder).pass_by()
            trials.append(_trial(app, client, scenario, folder, 1))
            run.capacity = statistics.mean(trials)
        # The workers have ended warmly, so every line is written.
        run.calls = [call for call in _calls(folder) if call.number < _TRIAL]
        run.transitions = _transitions(folder)
    return run


@contextmanager
def _workers(arm: Arm, conf: dict[str, Any], servers: Servers) -> Iterator[None]:
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                running_worker(servers.new_folder("worker"), conf, concurrency=arm.concurrency, wait=False)
            )
            for _ in range(arm.workers)
        ]
        for worker in started:
            worker.wait_ready()
        yield


def _trial(app: Celery, client: redis.Redis, scenario: Scenario, folder: Path, turn: int) -> float:
    """Plain tasks per second; the first fifth, while processes warm up, does not count."""
    numbers = range(_TRIAL * (turn + 1), _TRIAL * (turn + 1) + scenario.trial)
    push(app, client, NAIVE, numbers)

    def times() -> list[float]:
        return [call.at for call in _calls(folder) if call.number in numbers]

    eventually(lambda: len(times()) >= scenario.trial, "the trial should end", timeout=120, interval=0.5)
    counted = times()[scenario.trial // 5 :]
    return (len(counted) - 1) / (counted[-1] - counted[0])


class _Outage:
    """Takes the service down and up, keeps the load coming, and watches the broker."""

    def __init__(self, run: Run, app: Celery, client: redis.Redis, folder: Path) -> None:
        self._run = run
        self._app = app
        self._client = client
        self._down = folder / "down"
        self._numbers = itertools.count()
        self._next_fresh = time.time()

    def pass_by(self) -> None:
        """From the first fresh task until the broker is empty."""
        run, scenario = self._run, self._run.scenario
        self._flow_for(scenario.before)
        run.down_at = time.time()
        self._down.touch()
        numbers = list(itertools.islice(self._numbers, scenario.backlog))
        run.sent.update(dict.fromkeys(numbers, time.time()))
        push(self._app, self._client, run.arm.task, numbers)
        self._flow_for(run.down_at + scenario.outage - time.time())
        run.up_at = time.time()
        self._down.unlink()
        few = max(10, int(scenario.rate))
        self._flow_until(lambda: self._look().all <= few, scenario.patience)
        self._next_fresh = float("inf")
        # Between queue and hand a message is in neither for a moment, so look twice.
        self._flow_until(lambda: self._look().all == 0 and self._look().all == 0, scenario.patience)

    def _flow_for(self, seconds: float) -> None:
        end = time.time() + seconds
        while time.time() < end:
            self._tick()

    def _flow_until(self, condition: Callable[[], bool], patience: float) -> None:
        deadline = time.time() + patience
        while not condition():
            self._tick()
            if time.time() > deadline:
                raise RuntimeError(f"{self._run.arm.name}: {self._look()} after {patience:g} s")

    def _tick(self) -> None:
        while self._next_fresh <= time.time():
            number = next(self._numbers)
            self._run.sent[number] = time.time()
            self._app.send_task(self._run.arm.task, (number,))
            self._next_fresh += 1 / self._run.scenario.rate
        self._look()
        time.sleep(_TICK)

    def _look(self) -> Sample:
        keys = self._client.pipeline().llen(QUEUE).hlen("unacked").llen(parking_queue(BREAKER))
        sample = Sample(time.time(), *keys.execute())
        self._run.samples.append(sample)
        return sample


def _lines(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def _calls(folder: Path) -> list[Call]:
    lines = _lines(folder / "calls")
    return sorted(
        (Call(float(at), up == "up", int(number), int(retries)) for at, up, number, retries in lines), key=_at
    )


def _transitions(folder: Path) -> list[Transition]:
    lines = _lines(folder / "transitions")
    return sorted((Transition(float(at), before, after) for _, at, before, after, *_ in lines), key=_at)


def _at(event: Call | Transition) -> float:
    return event.at
