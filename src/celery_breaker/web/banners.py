"""What must be said above everything else: that what is shown is old, or that nobody tends. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from celery_breaker.core import tending
from celery_breaker.core.record import Mode, State
from celery_breaker.status import Status, WorkerSeen
from celery_breaker.status.sampler import Seen
from celery_breaker.status.words import plain

__all__ = ["Banner", "alarms", "banners"]

_NEWS = 10.0
"""Seconds that what workers said of themselves may be old."""


@dataclass(frozen=True, slots=True)
class Banner:
    """What is wrong, and what to do about it; ``since`` is a moment of the store's clock that the words end with."""

    says: str
    cure: str
    since: float | None = None
    bad: bool = True


def banners(seen: Seen, *, tend_interval: float) -> tuple[Banner, ...]:
    """All that must be said now."""
    return tuple(_banners(seen, grace=tending.LATE * tend_interval))


def alarms(seen: Seen, *, tend_interval: float) -> dict[str, str]:
    """What banners are about, as `Drawing.looks` has it: so that it is spoken when it begins and when it is over."""
    late = any(status.overdue > tending.LATE * tend_interval for status in seen.statuses.values())
    return {"the store": "away" if seen.error else "there", "a probe": "overdue" if late else "on time"}


def _banners(seen: Seen, *, grace: float) -> Iterator[Banner]:
    if seen.error:
        yield Banner(
            f"The store is away: {plain(seen.error)}. "
            + ("What is shown was seen a while ago:" if seen.at else "Nothing was seen yet."),
            "Workers go on, each with breakers of its own, until it is back. Start it, or run “celery breaker doctor”.",
            since=seen.at or None,
        )
        return
    yield from _nobody_tends(seen, grace)
    if apart := [worker.name for worker in seen.workers or () if not worker.connected]:
        yield Banner(
            f"{_some(apart)} {'does' if len(apart) == 1 else 'do'} not reach the store.",
            "Such a worker decides for itself, and what it sees is not counted here. Look at its log.",
            bad=False,
        )
    if seen.statuses and all(status.parked is None for status in seen.statuses.values()):
        yield Banner("The broker did not say how many tasks are parked.", "They stay where they are.", bad=False)


def _nobody_tends(seen: Seen, grace: float) -> Iterator[Banner]:
    late = [status for status in seen.statuses.values() if status.overdue > grace]
    workers = seen.workers or ()
    needed = any(status.state != State.CLOSED and status.mode != Mode.DISABLED for status in seen.statuses.values())
    idle = bool(workers) and not any(_tends(worker, grace) for worker in workers)
    if late:
        worst = max(late, key=_overdue)
        yield Banner(
            f"Nobody tends: {_some([plain(status.name) for status in late])} should have been probed a while ago:",
            "Until somebody does, they stay open and what is parked stays parked. Start a worker whose app has these "
            "breakers, and look at its log.",
            since=float(round(seen.at - worst.overdue)),
        )
    elif needed and idle:
        yield Banner(
            "Nobody tends: no worker says that it did so lately.",
            "What is open will not be probed, and what is parked stays parked. Look at the logs of the workers.",
        )


def _overdue(status: Status) -> float:
    return status.overdue


def _some(names: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _tends(worker: WorkerSeen, grace: float) -> bool:
    return worker.tended is not None and worker.tended <= grace + _NEWS
