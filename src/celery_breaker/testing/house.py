"""What tests need of whoever keeps the breakers: a Celery app, of which the plugin knows, or this process alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol, cast

from celery_breaker.core.names import check_name
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Record
from celery_breaker.engine import default, stage
from celery_breaker.engine.registry import Registry
from celery_breaker.errors import ConfigurationError
from celery_breaker.testing.deferred import Deferred

__all__ = ["House", "Make", "house_of"]

Make = Callable[[Callable[[str], Policy] | None], Registry]
"""Makes a registry for whoever says what its policies are; ``None``: the defaults."""


class House(Protocol):
    """The breakers of one app, or of none."""

    @property
    def registry(self) -> Registry:
        """The registry in use now."""
        ...

    @property
    def eager(self) -> bool:
        """Whether no worker sets tasks aside, only this process does."""
        ...

    def check(self, name: str) -> None:
        """Raise `UnknownBreakerError` unless there is a breaker of this name."""
        ...

    def gate(self) -> AbstractContextManager[None]:
        """As long as this lasts, eager tasks pass their breakers as in a worker."""
        ...

    def in_memory(self, make: Make) -> AbstractContextManager[None]:
        """As long as this lasts, the breakers are kept in the registry that ``make`` makes, and nobody tends them."""
        ...

    def deferred(self, *, elsewhere: bool = True) -> list[Deferred]:
        """What is set aside, the oldest first; ``elsewhere``: also what a worker has parked."""
        ...

    def release(self, name: str) -> int:
        """Run, or send back to its queue, what is set aside; how many."""
        ...

    def heard(self, record: Record, *, wait: float) -> str:
        """Wait until every worker elsewhere sees this record; which do not, after so many seconds."""
        ...


def house_of(app: object | None) -> House:
    """The house of an app, of the current app, or else of this process.

    Raises:
        ConfigurationError: this is no app.
    """
    house = cast("House | None", stage.found(app))
    if house is None and app is not None:
        raise ConfigurationError(f"{app!r} is no Celery app; give the app itself, or nothing for the current one")
    return house or _NoApp()


class _NoApp:
    """Implements `House` on the breakers that name no store, where there is no app."""

    @property
    def registry(self) -> Registry:
        return default.current_registry()

    @property
    def eager(self) -> bool:
        return True

    def check(self, name: str) -> None:
        check_name(name)  # they are declared nowhere

    def gate(self) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def in_memory(self, make: Make) -> Iterator[None]:
        registry = make(None)
        try:
            with default.lent(registry):
                yield
        finally:
            registry.close()

    def deferred(self, *, elsewhere: bool = True) -> list[Deferred]:
        return []

    def release(self, name: str) -> int:
        return 0

    def heard(self, record: Record, *, wait: float) -> str:
        return ""
