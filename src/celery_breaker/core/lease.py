"""Leases: places that are held for a while, and what whoever finds them taken is told."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Lease", "leased"]

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Lease:
    """The answer to whoever asked for a place; true if it is held.

    Attributes:
        held: whether it is.
        free_in: seconds until a place falls free, unless it is prolonged, or given back before; 0.0 if it is held.

    Example:
        >>> bool(Lease(held=False, free_in=2.0))
        False
    """

    held: bool
    free_in: float = 0.0

    def __bool__(self) -> bool:
        return self.held


def leased(
    holders: Mapping[_Key, float], holder: _Key, *, limit: int, ttl: float, now: float
) -> tuple[Lease, dict[_Key, float]]:
    """Hold one of ``limit`` places for ``ttl`` seconds, or hold it for longer; the answer, and who holds one then.

    Args:
        holders: until when each place is held, in seconds of any clock; ``now`` is of the same.

    Example:
        >>> leased({"a": 12.0}, "b", limit=1, ttl=60.0, now=10.0)
        (Lease(held=False, free_in=2.0), {'a': 12.0})
    """
    present = {other: until for other, until in holders.items() if until > now}
    if holder in present or len(present) < limit:
        return Lease(True), {**present, holder: now + ttl}
    return Lease(False, sorted(present.values())[len(present) - limit] - now), present
