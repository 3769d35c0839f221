"""The agent's lot: opened at the first use, opened anew after a failure, and what is released by it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery_breaker.plugin import signals
from celery_breaker.plugin.parking.lot import Held, Lot

if TYPE_CHECKING:
    from celery_breaker.plugin.app import AppBreakers

__all__ = ["AgentLot"]


class AgentLot:
    """A lot on an app's broker. Like every lot, for one thread."""

    def __init__(self, breakers: AppBreakers) -> None:
        self._breakers = breakers
        self._lot: Lot | None = None

    def open(self) -> Lot:
        """The lot itself; it may not have connected yet."""
        if self._lot is None:
            self._lot = self._breakers.open_lot()
        return self._lot

    def close(self) -> None:
        """Give back the connection; the next use opens another lot."""
        lot, self._lot = self._lot, None
        if lot is not None:
            lot.close()

    def release(self, name: str, count: int, *, ahead: bool = False, held: Held | None = None) -> int:
        """See `Lot.release`; meters and the receivers of the signal are told."""
        released = self.open().release(name, count, ahead=ahead, held=held)
        if released:
            self._breakers.registry.meters.released(name, released)
        if released and signals.task_released.receivers:
            signals.task_released.send(sender=self._breakers.app, name=name, count=released)
        return released
