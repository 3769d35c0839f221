"""A desk without Celery: a memory store, a catalogue of a few breakers, and a parking yard in a dict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from celery_breaker.clock import ManualClock
from celery_breaker.core.policy import Policy
from celery_breaker.engine.registry import Registry
from celery_breaker.errors import BrokerError
from celery_breaker.status import Desk, ParkedTask, Waiting, WorkerSeen
from tests.engine.world import Server, SilentReporter

QUICK = Policy(max_failures=3, failure_rate=0, recovery_timeout=30, jitter=0)


@dataclass
class Declared:
    """Implements `Catalogue`."""

    declared: dict[str, Policy] = field(default_factory=lambda: {"smtp": QUICK, "crm": QUICK})
    guarded: dict[str, Sequence[str]] = field(default_factory=lambda: {"mail.send": ["smtp"], "crm.sync": ["crm"]})

    def of(self, name: str) -> Policy:
        return self.declared.get(name, QUICK)

    def knows(self, name: str) -> bool:
        return name in self.declared

    def names(self) -> list[str]:
        return list(self.declared)

    def queue_of(self, task: str) -> str:
        return "celery"


@dataclass
class Lots:
    """Implements `Yard`: parked tasks in lists."""

    tasks: dict[str, list[ParkedTask]] = field(default_factory=dict)
    down: bool = False
    looks: int = 0

    def park(self, name: str, count: int, *, since: float = 1_000_000.0) -> None:
        tasks = self.tasks.setdefault(name, [])
        for number in range(len(tasks), len(tasks) + count):
            tasks.append(
                ParkedTask(
                    id=f"id-{number}", task="mail.send", queue="celery", since=since, deferrals=1, args=f"('{number}',)"
                )
            )

    def look(self, names: Iterable[str], *, patience: float) -> Mapping[str, Waiting]:
        self.looks += 1
        if self.down:
            return {}
        return {name: self._waiting(self.tasks.get(name, [])) for name in names}

    def _waiting(self, tasks: list[ParkedTask]) -> Waiting:
        return Waiting(len(tasks), tasks[0].since if tasks else None)

    def _reach(self) -> None:
        if self.down:
            raise BrokerError("the broker cannot be reached: connection refused")

    def peek(self, name: str, *, offset: int, count: int) -> list[ParkedTask]:
        self._reach()
        return self.tasks.get(name, [])[offset : offset + count]

    def size(self, name: str) -> int:
        self._reach()
        return len(self.tasks.get(name, []))

    def release(self, name: str, count: int | None) -> int:
        self._reach()
        tasks = self.tasks.get(name, [])
        number = len(tasks) if count is None else min(count, len(tasks))
        del tasks[:number]
        return number

    def purge(self, name: str) -> int:
        self._reach()
        return len(self.tasks.pop(name, []))


@dataclass
class Crew:
    """Implements `Fleet`."""

    seen: list[WorkerSeen] | None = None

    def workers(self, *, wait: float) -> list[WorkerSeen] | None:
        return self.seen


@dataclass
class Office:
    """A desk, and all that it stands on: turn `clock`, take `server` down, park in `lots`."""

    clock: ManualClock
    server: Server
    lots: Lots
    crew: Crew
    registry: Registry
    desk: Desk


def office(declared: Declared | None = None) -> Office:
    """A new one. Time begins at a million seconds."""
    clock = ManualClock(1_000_000.0)
    server, lots, crew = Server(clock), Lots(), Crew()
    catalogue = declared or Declared()
    registry = Registry(server, policy_of=catalogue.of, worker="web", clock=clock, random=lambda: 0.5)
    registry.reporter = SilentReporter()  # type: ignore[assignment]
    registry.work()
    return Office(clock, server, lots, crew, registry, Desk(registry, catalogue, lots, crew, why="as the test says"))
