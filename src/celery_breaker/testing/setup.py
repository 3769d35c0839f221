"""The ways to get `Breakers` to test with: in memory, where the app keeps them, or just to force one."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import ParamSpec, TypeVar

from celery_breaker.clock import ManualClock
from celery_breaker.core import machine
from celery_breaker.core.events import Change
from celery_breaker.core.policy import Policy
from celery_breaker.engine.registry import Registry
from celery_breaker.stores.memory import MemoryStore
from celery_breaker.testing.breakers import Breakers
from celery_breaker.testing.forcing import check_word
from celery_breaker.testing.house import House, house_of
from celery_breaker.testing.prompt import PromptRegistry

__all__ = ["Forced", "attached", "forced", "in_memory"]

P = ParamSpec("P")
R = TypeVar("R")


class _Clock(ManualClock):
    """A manual clock that has what is due done as it moves."""

    def __init__(self, due: Callable[[], None]) -> None:
        super().__init__(time.time())
        self._due = due

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self._due()


class _World:
    """One store and one clock, and the registries on them; what one changes, the others see at once."""

    def __init__(self) -> None:
        self.clock = _Clock(self._due)
        self.store = MemoryStore(self.clock)
        self._registries: list[Registry] = []

    def registry(self, policy_of: Callable[[str], Policy] | None) -> Registry:
        """One more registry."""
        registry = PromptRegistry(self.store, clock=self.clock, policy_of=policy_of)
        registry.listeners.append(self._tell)
        self._registries.append(registry)
        return registry

    def _tell(self, change: Change) -> None:
        for registry in self._registries:
            registry.hint(change.name)

    def _due(self) -> None:
        """What the agent does as time goes by, but for the releasing: that is the test's to say."""
        for registry in self._registries:
            for cell in list(registry.cells.values()):
                registry.refresh([cell.name])
                registry.change(cell, lambda record, now: machine.relax(record, now=now))
                registry.change(cell, lambda record, now: machine.half_opened(record, now=now))
            registry.reporter.wake()


@contextmanager
def in_memory(*apps: object) -> Iterator[Breakers]:
    """Keep the breakers of these apps (the current app, if none is given) in memory for the time of a with-block.

    They begin closed, share a clock of their own, and count every outcome before the call returns; no thread is started
    and no store is connected to. Eager tasks pass them, as they would in a worker. Nothing is released by itself.
    Afterwards all is as it was.

    Raises:
        ConfigurationError: one of them is no app, or its settings cannot work.

    Example:
        >>> from celery import Celery
        >>> app = Celery("example", set_as_current=False, breakers={"geo": {"recovery_timeout": 30}})
        >>> with in_memory(app) as breakers:
        ...     breakers.trip("geo")
        ...     breakers.clock.advance(30)
        ...     print(breakers.state("geo"))
        half_open
    """
    world = _World()
    houses = _houses(apps)
    with ExitStack() as stack:
        for house in houses:
            stack.enter_context(house.in_memory(world.registry))
            stack.enter_context(house.gate())
        yield Breakers(houses, clock=world.clock)


@contextmanager
def attached(app: object | None = None) -> Iterator[Breakers]:
    """Use the breakers of an app (the current one, if none is given) where they are, with those who share them.

    For tests whose workers are processes of their own. Eager tasks pass the breakers too.

    Raises:
        ConfigurationError: this is no app, or its settings cannot work.

    Example:
        With a worker of another process, whose broker and store the test shares::

            with attached(app) as breakers:
                breakers.trip("bank")
                check_out(7)
                breakers.assert_deferred("shop.charge", args=(7,))
    """
    house = house_of(app)
    with house.gate():
        yield Breakers([house])


def _houses(apps: tuple[object, ...]) -> list[House]:
    return [house_of(app) for app in apps] if apps else [house_of(None)]


class Forced:
    """What `forced` gives: a context manager, and a decorator of plain functions and of coroutine functions.

    Example:
        As a decorator::

            @forced("bank", "open", app=app)
            def test_an_order_waits_while_the_bank_is_down(): ...
    """

    def __init__(self, make: Callable[[], AbstractContextManager[Breakers]]) -> None:
        self._make = make
        self._entered: list[AbstractContextManager[Breakers]] = []

    def __enter__(self) -> Breakers:
        manager = self._make()
        breakers = manager.__enter__()
        self._entered.append(manager)
        return breakers

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._entered.pop().__exit__(kind, exc, trace)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: P.args, **kwargs: P.kwargs) -> object:
                with self._make():
                    return await function(*args, **kwargs)

            return awaited  # type: ignore[return-value]

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._make():
                return function(*args, **kwargs)

        return called


def forced(name: str, state: str, *, app: object | None = None, wait: float = 10.0) -> Forced:
    """Force a breaker where it is kept, for the time of a with-block or of a decorated function; see `Breakers.forced`.

    Workers that share the store are forced with it, and are waited for; eager tasks pass the breaker too.

    Args:
        state: ``"open"``, ``"disabled"``, ``"observing"``, ``"closed"`` or ``"half_open"``.
        app: whose breaker; unset, the current app's, else this process's own.
        wait: seconds that workers in other processes are given to hear of it.

    Raises:
        ConfigurationError: there is no such state. The rest is raised as the block is entered.

    Example:
        >>> from celery import Celery
        >>> app = Celery("example", set_as_current=False, broker="memory://", breakers={"geo": {}})
        >>> with in_memory(app), forced("geo", "open", app=app) as breakers:
        ...     print(breakers.state("geo"))
        open
    """
    check_word(state)

    @contextmanager
    def make() -> Iterator[Breakers]:
        with attached(app) as breakers, breakers.forced(name, state, wait=wait):
            yield breakers

    return Forced(make)
