"""`Breaker`: the face that users call, around any code; its part for coroutines is `AsyncFace`."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import ParamSpec, TypeVar

from celery_breaker.core import machine
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Record, State
from celery_breaker.engine.async_face import AsyncFace
from celery_breaker.engine.maintenance import Maintenance
from celery_breaker.engine.until import seconds_until
from celery_breaker.engine.view import Ticket
from celery_breaker.errors import BreakerError, ConfigurationError, StoreError
from celery_breaker.stores.memory import MemoryStore

__all__ = ["Breaker"]

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

_Entry = tuple["Breaker", Ticket, float, "_Entry | None"]
_entries: ContextVar[_Entry | None] = ContextVar("celery_breaker_entries", default=None)


class Breaker(AsyncFace):
    """A circuit breaker around any callable, sharing its state with everyone who names it.

    A context manager, a decorator, and `call`; in asynchronous code ``async with``, the same decorator, and `acall`.
    Thread-safe, fork-safe, and no call waits for the store, except where it wins a half-open permit (a few round
    trips, each of at most the store's timeout). What is not asynchronous may block, so an event loop does not use it.

    Args:
        name: up to 200 printable characters.
        policy: when to trip and how to recover; unset, the app's configuration says.
        store: URL or `Store`; unset, the current Celery app's, else this process's memory.

    Raises:
        ConfigurationError: from here for a bad name; from the first use for a bad policy or store.

    Example:
        >>> smtp = Breaker("example-smtp", policy=Policy(max_failures=3), store="memory://")
        >>> smtp.call(len, "four")
        4
        >>> str(smtp.state)
        'closed'
    """

    # --- calls ----------------------------------------------------------------------------------------------------

    def call(self, service: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``service`` if the breaker admits it, and count how it ends.

        Raises:
            BreakerOpen: the call was not made.
            BaseException: whatever ``service`` raises.

        Example:
            >>> Breaker("example-call", store="memory://").call(int, "ff", base=16)
            255
        """
        cell = self._cell or self._resolve()
        ticket = cell.ticket
        if not cell.passing:
            ticket = self._enter(cell)
        started = self._now()
        try:
            result = service(*args, **kwargs)
        except BaseException as exc:
            self._ended(ticket, started, exception=exc)
            raise
        if cell.plain and ticket.permit is None:
            next(ticket.counter)
        else:
            self._ended(ticket, started, result=result)
        return result

    def __call__(self, service: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function so that each call goes through `call`; if it is asynchronous, through `acall`.

        Of an async generator function, the call lasts from the first item that is asked for to the last.

        Raises:
            ConfigurationError: it is a generator function, or asynchronous and anyio is not installed.

        Example:
            >>> @Breaker("example-decorator", store="memory://")
            ... def double(number):
            ...     return 2 * number
            >>> double(21)
            42
        """
        if (asynchronous := self._asynchronous(service)) is not None:
            return asynchronous
        if inspect.isgeneratorfunction(service):
            raise ConfigurationError(f"{service!r} is a generator, whose call does nothing yet; guard what it calls")

        @functools.wraps(service)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            return self.call(service, *args, **kwargs)

        return guarded

    def __enter__(self) -> Breaker:
        cell = self._cell or self._resolve()
        ticket = cell.ticket
        if not cell.passing:
            ticket = self._enter(cell)
        _entries.set((self, ticket, self._now(), _entries.get()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        entry = _entries.get()
        if entry is None or entry[0] is not self:
            raise BreakerError(
                f"with-blocks must nest, but {self!r} is not the last that was entered; end the inner first"
            )
        _entries.set(entry[3])
        self._ended(entry[1], entry[2], exception=exc)

    # --- what it is -------------------------------------------------------------------------------------------------

    def _fresh(self) -> Record:
        registry, cell = self._own()
        registry.refresh([self.name])
        return cell.record

    @property
    def state(self) -> State:
        """The state in force, read from the store: what is forced open is open.

        An open breaker whose time has come stays open until somebody calls; test `retry_after` to know whether to.
        While the store is out of reach, this and the following are what this process makes of the breaker alone.

        Example:
            >>> Breaker("example-state", store="memory://").state == "closed"
            True
        """
        return machine.state_at(self._fresh(), self._own()[0].link.now())

    @property
    def mode(self) -> Mode:
        """The mode in force, read from the store.

        Example:
            >>> Breaker("example-mode", store="memory://").mode == "auto"
            True
        """
        return machine.mode_at(self._fresh(), self._own()[0].link.now())

    @property
    def time_since_fault(self) -> float | None:
        """Seconds since the failure that last opened the breaker; ``None`` if none ever did.

        Example:
            >>> Breaker("example-fault", store="memory://").time_since_fault is None
            True
        """
        fault = self._fresh().last_fault
        return None if fault is None else max(0.0, self._own()[0].link.now() - fault)

    @property
    def retry_after(self) -> float | None:
        """Seconds until a call may be admitted; 0 if one may now, ``None`` when forced open without an end.

        Example:
            >>> Breaker("example-wait", store="memory://").retry_after
            0.0
        """
        return machine.retry_after(self._fresh(), self._own()[0].link.now())

    @property
    def policy(self) -> Policy:
        """The policy in force in this process, with what an operator has set.

        Example:
            >>> Breaker("example-policy", policy=Policy(max_failures=3), store="memory://").policy.max_failures
            3
        """
        return self._own()[1].policy

    # --- what an operator says ----------------------------------------------------------------------------------------

    def _change(self, step: Callable[[Record, float], Record], *, by: str) -> None:
        registry, cell = self._own()
        private = cell.policy.scope == "worker"
        if private or (self._store is None and registry.link.shared.url == MemoryStore.url):
            cure = "it has scope='worker'" if private else "import the app, or give it a store"
            logger.warning(
                "breaker %r is kept by this process alone; %s", self.name, cure, extra={"breaker": self.name}
            )
        registry.refresh([self.name])
        registry.change(cell, step, by=by)
        if not private and not registry.link.connected:
            raise StoreError(f"breaker {self.name!r} was changed in this process alone: its store is out of reach")

    def _override(self, mode: Mode, reason: str, expires: float | None, by: str) -> None:
        if expires is not None and not (isinstance(expires, (int, float)) and expires > 0):
            raise ConfigurationError(f"expires={expires!r} must be a number of seconds above 0")
        self._change(
            lambda record, now: machine.override(record, mode, now=now, reason=reason, by=by, expires_in=expires), by=by
        )

    def open(self, *, reason: str = "", expires: float | None = None, by: str = "") -> None:
        """Force open, for ``expires`` seconds or until lifted. Atomic across the fleet. ``by`` is who says so.

        Raises:
            ConfigurationError: ``expires`` is not a number above 0.
            StoreError: from this and the following methods, when the fleet cannot be told.

        Example:
            >>> smtp = Breaker("example-open", store="memory://")
            >>> smtp.open(reason="the mail host moves", expires=3600)
            >>> str(smtp.state), str(smtp.mode)
            ('open', 'forced_open')
        """
        self._override(Mode.FORCED_OPEN, reason, expires, by)

    def disable(self, *, reason: str = "", expires: float | None = None, by: str = "") -> None:
        """Admit everything and hold the state still, for ``expires`` seconds or until lifted. Atomic.

        Example:
            >>> smtp = Breaker("example-disable", store="memory://")
            >>> smtp.disable(reason="false alarm", expires=3600)
            >>> str(smtp.mode)
            'disabled'
        """
        self._override(Mode.DISABLED, reason, expires, by)

    def observe(self, *, reason: str = "", expires: float | None = None, by: str = "") -> None:
        """Admit everything, and go on moving the state as if it counted, for ``expires`` seconds or until lifted.

        Atomic.

        Example:
            >>> smtp = Breaker("example-observe", store="memory://")
            >>> smtp.observe()
            >>> str(smtp.mode)
            'observing'
        """
        self._override(Mode.OBSERVING, reason, expires, by)

    def maintenance(
        self, *, until: datetime | timedelta | float, reason: str = "maintenance", by: str = "", admit: bool = False
    ) -> Maintenance:
        """Force open while the service is being worked on, at once; as a context manager, until the block is left.

        Args:
            until: its end at the latest: an aware datetime, a timedelta, or seconds. It is counted from now, so that a
                store's clock that differs from this machine's does no harm.
            admit: admit everything instead and hold the state still, so that no failure of the work trips.

        Raises:
            ConfigurationError: ``until`` has no time zone, or is over.
            StoreError: the fleet cannot be told.

        Example:
            >>> with Breaker("example-crm", store="memory://").maintenance(until=600, reason="upgrade"):
            ...     str(Breaker("example-crm", store="memory://").state)
            'open'
        """
        seconds = seconds_until(until, now=datetime.now(timezone.utc))
        mode = Mode.DISABLED if admit else Mode.FORCED_OPEN
        change = functools.partial(self._change, by=by)
        return Maintenance(change, name=self.name, mode=mode, seconds=seconds, reason=reason, by=by)

    def auto(self, *, by: str = "") -> None:
        """Lift the override; the state decides again. Atomic.

        Example:
            >>> smtp = Breaker("example-auto", store="memory://")
            >>> smtp.open()
            >>> smtp.auto()
            >>> str(smtp.state), str(smtp.mode)
            ('closed', 'auto')
        """
        self._override(Mode.AUTO, "", None, by)

    def close(self, *, reason: str = "closed by hand", by: str = "") -> None:
        """Close, lifting a forced opening; an early relapse still opens for longer than the first time. Atomic.

        Example:
            >>> smtp = Breaker("example-close", store="memory://")
            >>> smtp.open()
            >>> smtp.close(reason="the provider says it is fixed")
            >>> str(smtp.state)
            'closed'
        """
        self._change(lambda record, now: machine.close(record, now=now, reason=reason), by=by)

    def reset(self, *, reason: str = "reset by hand", by: str = "") -> None:
        """Back to a fresh, closed breaker: no override, no back-off, an empty window. Atomic.

        Example:
            >>> smtp = Breaker("example-reset", store="memory://")
            >>> smtp.disable()
            >>> smtp.reset()
            >>> str(smtp.mode)
            'auto'
        """
        self._change(lambda record, now: machine.reset(record, now=now, reason=reason), by=by)
