"""What every ``celery breaker`` command stands on: an app's breakers, and a store that surely was the shared one.

Workers that lose the store go on with breakers of their own. Here that would be a lie, so it is an error.
"""

from __future__ import annotations

import difflib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from kombu.exceptions import OperationalError

from celery_breaker.core.names import fields_of, is_name
from celery_breaker.core.record import Record
from celery_breaker.errors import ConfigurationError, StoreError
from celery_breaker.plugin.app import AppBreakers, breakers_of
from celery_breaker.plugin.parking import Lot
from celery_breaker.settings.urls import redacted, shown
from celery_breaker.status import Status, status_of

if TYPE_CHECKING:
    from celery.bin.base import CLIContext

__all__ = ["Action", "Failure", "Session", "UnknownBreaker", "Unreachable", "hint_at", "opened", "quiet"]

logger = logging.getLogger(__name__)

_PATIENCE = 2.0
"""Seconds that the broker may take to count parked tasks before a "?" stands for them."""


class Failure(click.ClickException):
    """Ends the command with one sentence on stderr."""

    exit_code = 1


class Unreachable(Failure):
    """The store or the broker is away; the same command may work later."""

    exit_code = 4


class UnknownBreaker(Failure):
    """Nothing is known by this name."""

    exit_code = 5


@dataclass(frozen=True, slots=True)
class Action:
    """A change of a record, and what must hold of it afterwards."""

    step: Callable[[Record, float], Record]
    holds: Callable[[Record], bool]


class Session:
    """The breakers of one app, for one command.

    Args:
        local: go on where no store is shared, for what concerns the broker alone.

    Raises:
        Failure, ConfigurationError, StoreError: nothing can be shown or steered.
    """

    def __init__(self, breakers: AppBreakers, *, local: bool = False) -> None:
        derived = breakers.derived
        self.shared = derived.shared
        if not (derived.shared or local):
            raise Failure(_not_shared(breakers))
        self.breakers = breakers
        self.policies = breakers.policies
        self.registry = breakers.registry
        self.registry.link.shared.now()
        self._counter = _Counter(breakers)

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
        stored = [name for name in self.registry.link.shared.names() if is_name(name)]
        return sorted({*self.policies.names(), *stored})

    def _private(self, name: str) -> bool:
        return self.policies.of(name).scope == "worker"

    def require(self, name: str, *, create: bool = False, private: bool = False) -> None:
        """Check that there is such a breaker, and one that can be reached from here.

        Args:
            create: any name will do.
            private: breakers of scope "worker" too.
        """
        declared = self.policies.declared
        if name in declared and fields_of(name):
            raise UnknownBreaker(f"{name!r} is a template for names; name one of its breakers (`list` shows them)")
        if not create and not self.policies.knows(name):
            names = self._all_names()
            if name not in names:
                hint = hint_at(name, names, otherwise="`list` shows all" if self.shared else "is -A your app?")
                raise UnknownBreaker(f"no breaker {name!r} is declared or has a record; {hint}")
        if not private and self._private(name):
            raise Failure(f"breaker {name!r} has scope='worker': each worker keeps its own, out of reach from here")

    # --- the store ----------------------------------------------------------------------------------------------------

    def statuses(self, names: Iterable[str] | None = None, *, patience: float | None = None) -> list[Status]:
        """These breakers, or all, as the store has them now. Raises `StoreError`."""
        self.registry.link.rejoin()
        self._be_sure()
        wanted = self.names() if names is None else list(names)
        counted = self._counter.count(wanted, patience=_PATIENCE if patience is None else patience)
        found = status_of(self.registry, wanted, parked=counted.get)
        self._be_sure()
        return found

    def change(self, name: str, action: Action) -> None:
        """Do it in the store. Raises `StoreError`, and `Failure` if it did not come about."""
        cell = self.registry.cell(name)
        self.registry.refresh([name])
        self._be_sure()
        record = self.registry.change(cell, action.step)
        self._be_sure()
        if not action.holds(record):
            raise Failure(f"breaker {name!r} was changed by others at the same time, and is {record.state}; try again")

    def _be_sure(self) -> None:
        if not self.registry.link.connected:
            raise StoreError(f"{self.url} did not answer; look again what was done before that")

    # --- the broker ---------------------------------------------------------------------------------------------------

    @contextmanager
    def lot(self) -> Iterator[Lot]:
        """A lot whose errors end the command."""
        connection = self.breakers.app.connection_for_write()
        errors: tuple[type[BaseException], ...] = (
            OperationalError,
            *connection.connection_errors,
            *connection.channel_errors,
        )
        lot = self.breakers.open_lot()
        try:
            yield lot
        except errors as exc:
            said = redacted(str(exc), connection.as_uri(include_password=True), *connection.alt)
            raise Unreachable(f"the broker cannot be reached: {said}") from exc
        finally:
            lot.close()


class _Counter:
    """Counts parked tasks in a thread, since a broker that hangs must not hang the command."""

    def __init__(self, breakers: AppBreakers) -> None:
        self._breakers = breakers
        self._lot: Lot | None = None
        self._thread: threading.Thread | None = None

    def count(self, names: list[str], *, patience: float) -> dict[str, int]:
        """What was counted within ``patience`` seconds."""
        counted: dict[str, int] = {}
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._count, args=(names, counted), daemon=True)
            self._thread.start()
            self._thread.join(patience)
        return dict(counted)

    def _count(self, names: list[str], counted: dict[str, int]) -> None:
        try:
            self._lot = self._lot or self._breakers.open_lot()
            for name in names:
                counted[name] = self._lot.size(name)
        except Exception:
            logger.debug("parked tasks could not be counted", exc_info=True)
            if self._lot is not None:
                self._lot.close()


def hint_at(name: str, names: Iterable[str], *, otherwise: str) -> str:
    """The end of a message about an unknown breaker: the nearest of these names, or something else to do."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean {near[0]!r}?" if near else otherwise


@contextmanager
def opened(context: CLIContext, *, local: bool = False) -> Iterator[Session]:
    """A session on the app of this command line; what goes wrong in it becomes a `Failure`."""
    breakers = breakers_of(context.app)
    with quiet():
        try:
            context.app.loader.import_default_modules()
            yield Session(breakers, local=local)
        except ConfigurationError as exc:
            raise Failure(str(exc)) from exc
        except StoreError as exc:
            raise Unreachable(f"the store cannot be reached: {exc}") from exc
        finally:
            breakers.forget()  # waits a moment for announcements that are still on their way to the workers


@contextmanager
def quiet() -> Iterator[None]:
    """Errors go to stderr in one line; warnings do not, for the command itself says what it did."""
    handler, root = logging.StreamHandler(), logging.getLogger("celery_breaker")
    handler.setLevel(logging.ERROR)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def _not_shared(breakers: AppBreakers) -> str:
    store = breakers.settings.store
    why = f"breaker_store is {shown(store)}" if store else breakers.derived.why
    return (
        f"{why}, so each process has breakers of its own and none can be seen or steered from here; set breaker_store "
        "to a store that is shared" + ("" if store else ", and check that -A names your app")
    )
