"""Failed logins: whoever fails too often has to wait."""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict

from celery_breaker.clock import Clock

__all__ = ["FailedLogins"]

_ADDRESSES = 10_000
"""Addresses that are remembered; beyond that, those that failed longest ago are forgotten."""


class FailedLogins:
    """Counts failed logins by the client's address. Thread-safe.

    Args:
        clock: in seconds.
        limit: failures after which an address has to wait.
        span: seconds that it waits, from its last failure on.
    """

    def __init__(self, clock: Clock, *, limit: int = 5, span: float = 60.0) -> None:
        self._clock = clock
        self._limit = limit
        self._span = span
        self._lock = threading.Lock()
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds until this address may try again; 0 if it may now."""
        count, last = self._failed.get(_group(address), (0, 0.0))
        return max(0.0, last + self._span - self._clock()) if count >= self._limit else 0.0

    def failed(self, address: str) -> None:
        """One more failure; failures older than the span are forgotten."""
        key, now = _group(address), self._clock()
        with self._lock:
            count, last = self._failed.pop(key, (0, now))
            self._failed[key] = (1 if now - last >= self._span else count + 1, now)
            while len(self._failed) > _ADDRESSES:
                self._failed.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Forget its failures."""
        with self._lock:
            self._failed.pop(_group(address), None)


def _group(address: str) -> str:
    """The address, or for IPv6 its network of 64 bits: one client may have all of that."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(parsed) if parsed.version == 4 else str(ipaddress.ip_network((parsed, 64), strict=False))
