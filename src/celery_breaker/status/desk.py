"""The desk: where a person, or a program for one, sees and steers the breakers of an app.

Workers that lose the store go on with breakers of their own. Here that would be a lie, so it is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from celery_breaker.core.journal import Book, Entry, Event
from celery_breaker.core.names import fields_of, is_name
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Value
from celery_breaker.core.windows import Totals
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Cell
from celery_breaker.errors import ConflictError, OutOfReachError, StoreError, UnknownBreakerError, suggestion
from celery_breaker.status.actions import Action, tune
from celery_breaker.status.model import Status, status_of
from celery_breaker.status.ports import Catalogue, Fleet, ParkedTask, Yard

__all__ = ["Desk", "require_known"]

_PATIENCE = 2.0
"""Seconds that the broker may take to count parked tasks before nothing stands for them."""


class Desk:
    """The breakers of one app, as the store has them. Thread-safe.

    Args:
        registry: on the shared store.
        catalogue, yard, fleet: see their protocols.
        why: why the breakers are kept where they are.
        shared: whether other processes see them.
        tend_interval: seconds between two rounds of the agent.

    Raises:
        StoreError: from every method that reads or writes records, when the store cannot be reached.

    Example:
        What is open, and for how long, in code that has imported the app::

            from celery_breaker.status.default import current_desk

            desk = current_desk()
            waits = {status.name: status.retry_after for status in desk.statuses(desk.names()) if not status.admits}
    """

    def __init__(
        self,
        registry: Registry,
        catalogue: Catalogue,
        yard: Yard,
        fleet: Fleet,
        *,
        why: str = "",
        shared: bool = True,
        tend_interval: float = 5.0,
    ) -> None:
        self.registry = registry
        self.catalogue = catalogue
        self.yard = yard
        self.fleet = fleet
        self.why = why
        self.shared = shared
        self.tend_interval = tend_interval

    @property
    def url(self) -> str:
        """Where the store is, fit for showing."""
        return self.registry.link.shared.url

    # --- names --------------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Every breaker that the fleet shares: declared, or with a record."""
        return [name for name in self._all_names() if not self._private(name)]

    def private_names(self) -> list[str]:
        """Breakers of scope "worker", which nobody but each worker sees."""
        return [name for name in self._all_names() if self._private(name)]

    def _all_names(self) -> list[str]:
        stored = [name for name in self.registry.link.timed.names() if is_name(name)]
        return sorted({*self.catalogue.names(), *stored})

    def _private(self, name: str) -> bool:
        return self.catalogue.of(name).scope == "worker"

    def require(self, name: str, *, create: bool = False, private: bool = False) -> None:
        """Check that there is such a breaker, and one that can be reached from here.

        Args:
            create: any name will do.
            private: breakers of scope "worker" too.

        Raises:
            UnknownBreakerError, OutOfReachError: there is none, or it cannot.
        """
        require_known(self.catalogue, name, lambda: [name] if create else self._all_names())
        if not private and self._private(name):
            raise OutOfReachError(
                f"breaker {name!r} has scope='worker': each worker keeps its own, out of reach from here"
            )

    def tasks_of(self, name: str) -> list[str]:
        """The tasks that a breaker guards, by itself or by a template that its name could come from."""
        policy = self.catalogue.of(name)
        return sorted(
            task
            for task, templates in self.catalogue.guarded.items()
            if any(t == name or (fields_of(t) and self.catalogue.of(t) is policy) for t in templates)
        )

    # --- seeing -------------------------------------------------------------------------------------------------------

    def statuses(
        self,
        names: Iterable[str] | None = None,
        *,
        patience: float | None = None,
        totals: Callable[[Cell], Totals] | None = None,
    ) -> list[Status]:
        """These breakers, or all, as the store has them now; ``totals`` as `status_of` has it."""
        self.registry.link.rejoin()
        self._be_sure()
        wanted = self.names() if names is None else list(names)
        waiting = self.yard.look(wanted, patience=_PATIENCE if patience is None else patience)
        found = status_of(self.registry, wanted, waiting=waiting, totals=totals)
        self._be_sure()
        return found

    def policy_of(self, name: str) -> Policy:
        """The policy in force, with what an operator has set, as of the last look at this breaker."""
        return self.registry.cell(name).policy

    def history(self, name: str) -> list[Entry]:
        """What became of a breaker and who did it, the latest first."""
        return self._noted(name, Book.HISTORY)

    def failures(self, name: str) -> list[Entry]:
        """Some of its latest failed calls, the latest first."""
        return self._noted(name, Book.FAILURES)

    def _noted(self, name: str, book: Book) -> list[Entry]:
        self._be_sure()
        found = self.registry.notes(name, book)
        self._be_sure()
        return found

    def parked(self, name: str, *, offset: int = 0, count: int = 50) -> list[ParkedTask]:
        """Parked tasks, the oldest first. Raises `BrokerError`."""
        return self.yard.peek(name, offset=offset, count=count)

    # --- steering -----------------------------------------------------------------------------------------------------

    def act(self, name: str, action: Action) -> None:
        """Do it in the store; the journal says so. Raises `ConflictError` if it did not come about."""
        cell = self.registry.cell(name)
        self.registry.refresh([name])
        self._be_sure()
        record = self.registry.change(cell, action.step, by=action.by)
        self._be_sure()
        if not action.holds(record):
            raise ConflictError(
                f"breaker {name!r} was changed by others at the same time, and is {record.state}; try again"
            )

    def tune(self, name: str, given: Mapping[str, Value], *, by: str) -> None:
        """Set options of the policy. Raises `ConfigurationError` for what cannot be, `ConflictError`."""
        self.act(name, tune(given, over=self.registry.cell(name).own, by=by))

    def release(self, name: str, count: int | None, *, by: str) -> int:
        """Send parked tasks back at once; how many. Raises `BrokerError`."""
        return self._moved(name, Event.RELEASED, self.yard.release(name, count), by)

    def purge(self, name: str, *, by: str) -> int:
        """Delete parked tasks; how many. Raises `BrokerError`."""
        return self._moved(name, Event.PURGED, self.yard.purge(name), by)

    def _moved(self, name: str, event: Event, count: int, by: str) -> int:
        if count and event is Event.RELEASED:
            self.registry.meters.released(name, count)
        if count and self.shared:
            now = self.registry.link.now()
            self.registry.note(name, Book.HISTORY, [Entry(at=now, event=event, count=count, by=by)])
        return count

    def _be_sure(self) -> None:
        if not self.registry.link.connected:
            raise StoreError(f"{self.url} did not answer; look again what was done before that")


def require_known(
    catalogue: Catalogue, name: str, others: Callable[[], Sequence[str]], *, otherwise: str = "has a record"
) -> None:
    """Check that a breaker is declared, or among the others; those are not asked for if it is.

    Args:
        otherwise: what can be said of the others.

    Raises:
        UnknownBreakerError: it is not, or it is a template.
    """
    if name in catalogue.declared and fields_of(name):
        raise UnknownBreakerError(f"{name!r} is a template for names; name one of its breakers")
    if catalogue.knows(name) or name in (known := others()):
        return
    hint = suggestion(name, known, otherwise="")
    raise UnknownBreakerError(f"no breaker {name!r} is declared or {otherwise}{hint}")
