"""A Celery app's breakers in the hands of a test; see `celery_breaker.testing`, which knows no Celery."""

from __future__ import annotations

import ast
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from celery import Celery

from celery_breaker.core.names import is_name
from celery_breaker.core.record import Record
from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.parking import local
from celery_breaker.plugin.parking.lot import Lot
from celery_breaker.plugin.parking.note import Note
from celery_breaker.plugin.parking.yard import AppYard
from celery_breaker.plugin.rehearsal.gate import EagerGate
from celery_breaker.settings.urls import scheme_of
from celery_breaker.status.desk import require_known
from celery_breaker.stores.memory import MemoryStore
from celery_breaker.testing import Deferred
from celery_breaker.testing.house import Make

if TYPE_CHECKING:
    from kombu import Message

    from celery_breaker.engine.registry import Registry
    from celery_breaker.status import ParkedTask

__all__ = ["AppHouse", "house_of_app"]

logger = logging.getLogger(__name__)

_MANY = 10_000
"""Parked tasks of a breaker that a test looks at."""

_ANSWER = 0.5
"""Seconds that workers have to answer."""

_NEARBY = ("memory", "filesystem")
"""Transports that are always there to be looked at."""


class AppHouse:
    """Implements `House` on an app."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._breakers = breakers_of(app)
        self._gate = EagerGate(self._breakers)
        self._yard = AppYard(app, self._breakers.open_lot)
        self._rehearsals = 0

    @property
    def registry(self) -> Registry:
        """See `House.registry`."""
        return self._breakers.registry

    @property
    def eager(self) -> bool:
        """See `House.eager`; a broker elsewhere need not be there for a test whose tasks are all eager."""
        return bool(self._app.conf.task_always_eager)

    def check(self, name: str) -> None:
        """See `House.check`."""
        policies, registry = self._breakers.policies, self.registry
        require_known(policies, name, lambda: [*policies.names(), *self._names()], otherwise="in use")
        registry.cell(name)

    def _names(self) -> list[str]:
        stored = self.registry.link.run(lambda store: store.names())
        return sorted({*self._breakers.policies.names(), *self.registry.cells, *filter(is_name, stored)})

    def gate(self) -> AbstractContextManager[None]:
        """See `House.gate`."""
        return self._gate.stand()

    @contextmanager
    def in_memory(self, make: Make) -> Iterator[None]:
        """See `House.in_memory`; also, nothing is left parked in memory, neither from before nor for later."""
        breakers = self._breakers
        breakers.stand_in(make)
        try:
            self._sweep()
            yield
        finally:
            try:
                self._sweep()
            finally:
                breakers.stand_in(None)

    def _sweep(self) -> None:
        self._gate.lot.clear()
        if self._scheme == "memory":
            for name in self._names():
                self._yard.purge(name)

    @property
    def _scheme(self) -> str:
        """What kind of broker it is, without loading a driver for it."""
        conf = self._app.conf
        said: Any = conf.broker_write_url or conf.broker_url or ""
        urls = [said] if isinstance(said, str) else [*said]
        return scheme_of(urls[0]) if urls else ""

    def deferred(self, *, elsewhere: bool = True) -> list[Deferred]:
        """See `House.deferred`."""
        here = self._gate.lot.deferred()
        return [*here, *self._parked()] if elsewhere and self._looks_elsewhere else here

    @property
    def _looks_elsewhere(self) -> bool:
        return not self.eager or self._scheme in _NEARBY

    def _parked(self) -> list[Deferred]:
        lot = self._breakers.open_lot()
        try:
            return [one for name in self._names() for one in _look(lot, name)]
        finally:
            lot.close()

    def release(self, name: str) -> int:
        """See `House.release`; what is set aside meanwhile stays."""
        lot = self._gate.lot
        here = lot.release(name, lot.size(name))
        return here + (self._yard.release(name, None) if self._looks_elsewhere else 0)

    def heard(self, record: Record, *, wait: float) -> str:
        """See `House.heard`; asks the workers over remote control, or, where that is not possible, waits a moment."""
        if isinstance(self.registry.link.shared, MemoryStore) or not wait:
            return ""
        deadline = time.monotonic() + wait
        while deaf := self._deaf(record):
            if time.monotonic() >= deadline:
                return deaf
        return ""

    def _deaf(self, record: Record) -> str:
        """Workers that see another generation or mode of this breaker."""
        try:
            inspect: Any = self._app.control.inspect(timeout=_ANSWER)
            answers: Mapping[str, Any] = inspect._request("breakers", names=[record.name]) or {}
        except Exception as exc:
            logger.debug("workers cannot be asked, so they are given time to hear of it: %r", exc)
            time.sleep(2 * self._breakers.settings.refresh_interval)
            return ""
        wanted = (record.generation, str(record.mode))
        return ", ".join(worker for worker, said in sorted(answers.items()) if not _sees(said, wanted))


def _sees(said: Mapping[str, Any], wanted: tuple[int, str]) -> bool:
    """Whether a worker's answer shows the breaker so, or shows that it has none."""
    (seen,) = said.get("breakers") or [None]
    if seen is None or not seen["known"]:
        return True
    return (seen["generation"], seen["mode"]) == wanted or int(seen["generation"]) > wanted[0]


def _look(lot: Lot, name: str) -> list[Deferred]:
    if isinstance(lot, local.LocalLot):
        return [_of_message(message) for message in lot.messages(name)]
    return [_of_headers(name, task) for task in lot.peek(name, offset=0, count=_MANY)]


def _of_message(message: Message) -> Deferred:
    note, headers = Note.of(message.headers), message.headers
    try:
        args, kwargs, *_ = message.payload
    except Exception:  # in a form that is not accepted here
        args = kwargs = None
    return Deferred(
        breaker=note.breaker,
        task=str(headers.get("task")),
        id=str(headers.get("id")),
        args=None if args is None else tuple(args),
        kwargs=kwargs,
        deferrals=note.deferrals,
        queue=note.queue,
    )


def _of_headers(name: str, task: ParkedTask) -> Deferred:
    args, kwargs = _literal(task.args), _literal(task.kwargs)
    return Deferred(
        breaker=name,
        task=task.task,
        id=task.id,
        args=tuple(args) if isinstance(args, (list, tuple)) else None,
        kwargs=kwargs if isinstance(kwargs, dict) else None,
        deferrals=task.deferrals,
        queue=task.queue,
    )


def _literal(text: str) -> object:
    """A value from its representation; nothing, if that was cut short or is no literal."""
    try:
        value: object = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return value


_houses: WeakKeyDictionary[Celery, AppHouse] = WeakKeyDictionary()


def house_of_app(app: Celery) -> AppHouse:
    """The house of an app, made at first use: who asks twice stands at the same gate."""
    house = _houses.get(app)
    if house is None:
        house = _houses.setdefault(app, AppHouse(app))
    return house
