"""Leases without a database: places are claimed, and whoever claimed first holds them once all have heard of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from celery_breaker.core.lease import Lease

__all__ = ["Claim", "free_in", "present", "stands"]


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim to a place.

    Attributes:
        at: when it was first made, in seconds of the claimer's wall clock; the earliest wins.
        until: when it ends, in seconds of the clock of who keeps this note.
        own: made in this process.
        told: when this process last told the others of it, if it is its own.
    """

    at: float
    until: float
    own: bool = False
    told: float = 0.0


def present(claims: Mapping[str, Claim], now: float) -> dict[str, Claim]:
    """Those that have not ended, by holder."""
    return {holder: claim for holder, claim in claims.items() if claim.until > now}


def stands(claims: Mapping[str, Claim], holder: str, *, limit: int) -> bool:
    """Whether this holder's claim is among the first ``limit``; one that no other process disputes stands anyhow.

    Example:
        >>> two = {"a": Claim(1.0, 60.0), "b": Claim(2.0, 60.0, own=True)}
        >>> stands(two, "a", limit=1), stands(two, "b", limit=1), stands(two, "b", limit=2)
        (True, False, True)
    """
    mine = claims[holder]
    earlier = [claim for other, claim in claims.items() if (claim.at, other) < (mine.at, holder)]
    return len(earlier) < limit or not any(claim.own is not mine.own for claim in earlier)


def free_in(claims: Mapping[str, Claim], *, limit: int, now: float) -> Lease:
    """The answer to who finds all places taken: when, as things stand, the next falls free."""
    ends = sorted(claim.until for claim in claims.values())
    return Lease(False, max(0.0, ends[max(len(ends) - limit, 0)] - now))
