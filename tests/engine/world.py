"""A small world for the engine: one store, one clock to turn, and processes that are registries without a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from celery_breaker.clock import ManualClock
from celery_breaker.core.classify import Verdict
from celery_breaker.core.events import Change
from celery_breaker.core.journal import Book
from celery_breaker.core.lease import Lease
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Record
from celery_breaker.core.windows import Delta, Totals, Window
from celery_breaker.engine import default
from celery_breaker.engine.breaker import Breaker
from celery_breaker.engine.registry import Outcome, Registry
from celery_breaker.engine.view import Cell, Ticket
from celery_breaker.errors import StoreError
from celery_breaker.stores.base import Snapshot
from celery_breaker.stores.memory import MemoryStore

POLICY = Policy(max_failures=3, failure_rate=0, recovery_timeout=30, jitter=0)


class SilentReporter:
    """Stands in for the thread: a test calls `Registry.work` itself."""

    running = False

    def __init__(self) -> None:
        self.wakes = 0

    def start(self) -> None:
        """No thread."""

    def wake(self) -> None:
        self.wakes += 1

    def stop(self, timeout: float = 0.0) -> None:
        """Nothing to end."""


class Server:
    """A store that several processes share, and that can be away, hang, lose everything, and be watched."""

    url = "memory://server"

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.store = MemoryStore(clock)
        self.down = False
        self.hang = 0.0
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda operation: None

    def _reach(self, operation: str) -> MemoryStore:
        self.calls.append(operation)
        self.before(operation)
        if self.hang:
            self.clock.advance(self.hang)
        if self.down or self.hang:
            raise StoreError("server: connection refused")
        return self.store

    def empty(self) -> None:
        """As a restart without persistence leaves it."""
        self.store = MemoryStore(self.clock)

    def after_fork(self) -> None:
        self.store.after_fork()

    def read(self, names: Iterable[str]) -> Snapshot:
        return self._reach("read").read(names)

    def tally(self, name: str, delta: Delta, window: Window, *, generation: int, worker: str) -> Totals:
        return self._reach("tally").tally(name, delta, window, generation=generation, worker=worker)

    def swap(self, record: Record, *, expected: int) -> bool:
        return self._reach("swap").swap(record, expected=expected)

    def lease(self, key: str, holder: str, *, limit: int, ttl: float) -> Lease:
        return self._reach("lease").lease(key, holder, limit=limit, ttl=ttl)

    def release(self, key: str, holder: str) -> None:
        self._reach("release").release(key, holder)

    def note(self, name: str, book: Book, entries: Sequence[str]) -> None:
        self._reach("note").note(name, book, entries)

    def notes(self, name: str, book: Book) -> list[str]:
        return self._reach("notes").notes(name, book)

    def names(self) -> list[str]:
        return self._reach("names").names()

    def forget(self, name: str) -> None:
        self._reach("forget").forget(name)

    def now(self) -> float:
        return self._reach("now").now()

    def close(self) -> None:
        """Nothing to give back."""


class World:
    """Time starts at a million seconds, as far as the server is concerned; every process counts from elsewhere."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.clock = ManualClock(1_000_000.0)
        self.server = Server(self.clock)
        self.policy = policy
        self.changes: list[Change] = []

    def process(self, worker: str = "w1", *, skew: float = 999_000.0, **options: Any) -> Registry:
        """One more process. Its clock is ``skew`` seconds behind the server's."""
        registry = Registry(
            self.server,
            **{
                "policy_of": lambda name: self.policy,
                "worker": worker,
                "clock": lambda: self.clock() - skew,
                "random": lambda: 0.5,
                **options,
            },
        )
        registry.reporter = SilentReporter()  # type: ignore[assignment]
        registry.listeners.append(self.changes.append)
        registry.work()
        return registry

    def stored(self, name: str = "smtp") -> Record:
        return self.server.store.read([name]).records[name]

    def put(self, record: Record) -> Record:
        """Write a record behind everybody's back."""
        assert self.server.store.swap(record, expected=self.stored(record.name).version)
        return self.stored(record.name)


def known(registry: Registry, name: str = "smtp") -> Cell:
    """The view of a breaker, read from the store."""
    cell = registry.cell(name)
    registry.refresh([name])
    return cell


def end(registry: Registry, ticket: Ticket | None, verdict: Verdict = Verdict.FAILURE, **more: Any) -> None:
    """Report an outcome and have it worked off."""
    assert ticket is not None
    registry.report(Outcome(ticket, verdict, **more))
    registry.work()


def fail(registry: Registry, times: int = 1, name: str = "smtp") -> None:
    """So many admitted calls fail, and are worked off at once."""
    cell = registry.cell(name)
    for _ in range(times):
        registry.report(Outcome(cell.ticket, Verdict.FAILURE, reason="ConnectionError()"))
    registry.work()


def succeed(registry: Registry, times: int = 1, name: str = "smtp") -> None:
    """So many admitted calls succeed; successes may wait for the next round."""
    for _ in range(times):
        registry.succeeded(registry.cell(name).ticket)
    registry.work()


@contextmanager
def provided(registry: Registry) -> Iterator[None]:
    """`registry` is current meanwhile."""
    before, bound = default._provider, default._bound
    default.provide(lambda: registry)
    try:
        yield
    finally:
        default.provide(before, bound=bound)


def breaker_in(registry: Registry, name: str = "smtp", **options: Any) -> Breaker:
    """A `Breaker` as this process would have it."""
    breaker = Breaker(name, **options)
    with provided(registry):
        assert breaker.policy
    return breaker
