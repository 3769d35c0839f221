"""The yard: an app's parking queues as the desk sees them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kombu.exceptions import OperationalError

from celery_breaker.clock import monotonic
from celery_breaker.errors import BrokerError
from celery_breaker.plugin import signals
from celery_breaker.settings.urls import redacted
from celery_breaker.status import ParkedTask, Waiting

if TYPE_CHECKING:
    from celery import Celery

    from celery_breaker.plugin.parking.lot import Lot

__all__ = ["AppYard"]

logger = logging.getLogger(__name__)


class AppYard:
    """Implements `Yard` on an app's broker.

    Args:
        open_lot: opens a lot, which does not connect yet.
    """

    def __init__(self, app: Celery, open_lot: Callable[[], Lot]) -> None:
        self._app = app
        self._open_lot = open_lot
        self._lot: Lot | None = None
        self._looking: threading.Thread | None = None
        self._seen: Mapping[str, Waiting] = {}
        self._good_until = 0.0
        self._lock = threading.Lock()

    def look(self, names: Iterable[str], *, patience: float) -> Mapping[str, Waiting]:
        """See `Yard.look`; in a thread, since a broker that hangs must not hang who looks."""
        found: dict[str, Waiting] = {}
        wanted = list(names)
        with self._lock:
            if monotonic() < self._good_until and self._seen.keys() >= set(wanted):
                return {name: self._seen[name] for name in wanted}
            if self._looking is None or not self._looking.is_alive():
                self._looking = threading.Thread(
                    target=self._look, args=(wanted, found), name="celery-breaker-yard", daemon=True
                )
                self._looking.start()
                self._looking.join(patience)
        return dict(found)

    def _look(self, names: list[str], found: dict[str, Waiting]) -> None:
        try:
            self._lot = self._lot or self._open_lot()
            found |= self._lot.look(names)
            self._seen, self._good_until = found, monotonic() + self._lot.pace.watch
        except Exception:
            logger.debug("parked tasks could not be counted", exc_info=True)
            if self._lot is not None:
                self._lot.close()

    def peek(self, name: str, *, offset: int, count: int) -> list[ParkedTask]:
        """See `Yard.peek`."""
        with self._own_lot() as lot:
            return lot.peek(name, offset=offset, count=count)

    def size(self, name: str) -> int:
        """Parked tasks of a breaker. Raises `BrokerError`."""
        with self._own_lot() as lot:
            return lot.size(name)

    def release(self, name: str, count: int | None) -> int:
        """See `Yard.release`; what is parked meanwhile stays."""
        self._good_until = 0.0
        with self._own_lot() as lot:
            waiting = lot.size(name)
            released = lot.release(name, waiting if count is None else min(count, waiting)) if waiting else 0
        if released:
            signals.task_released.send(sender=self._app, name=name, count=released)
        return released

    def purge(self, name: str) -> int:
        """See `Yard.purge`."""
        self._good_until = 0.0
        with self._own_lot() as lot:
            return lot.purge(name)

    @contextmanager
    def _own_lot(self) -> Iterator[Lot]:
        connection = self._app.connection_for_write()
        errors: tuple[type[BaseException], ...] = (
            OperationalError,
            *connection.connection_errors,
            *connection.channel_errors,
        )
        lot = self._open_lot()
        try:
            yield lot
        except errors as exc:
            said = redacted(str(exc), connection.as_uri(include_password=True), *connection.alt)
            raise BrokerError(f"the broker cannot be reached: {said}") from exc
        finally:
            lot.close()
