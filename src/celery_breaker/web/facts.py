"""What pages and API say alike: statuses, policies, workers and journals as plain values, fit for JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from operator import attrgetter

from celery_breaker.core.journal import Entry
from celery_breaker.core.policy import Policy
from celery_breaker.core.tending import FULL_ROUND
from celery_breaker.status import ParkedTask, Status, WorkerSeen
from celery_breaker.status.sampler import Seen

__all__ = ["attendance", "changed", "chosen", "entry", "parked_task", "policy_of", "still"]

_TICKING = ("since", "retry_after", "time_since_fault", "override_expires_in", "oldest_parked", "overdue")
_steady = attrgetter(*(field.name for field in dataclasses.fields(Status) if field.name not in _TICKING))

_UNTENDED = 1.5 * FULL_ROUND
"""Seconds without a round of any agent after which nobody tends; where nothing is open, one is made in `FULL_ROUND`."""


def still(status: Status) -> tuple[object, ...]:
    """A status without what only counts seconds: differs when something happened."""
    return (*_steady(status), status.retry_after == 0, status.retry_after is None)


def changed(before: Seen, seen: Seen) -> list[Status]:
    """Breakers to which something happened from one look to the next; seconds that passed are nothing."""
    known = before.statuses
    return [
        status
        for name, status in seen.statuses.items()
        if (old := known.get(name)) is not status and (old is None or still(old) != still(status))
    ]


def chosen(
    statuses: Iterable[Status], *, name: str = "", states: Iterable[str] = (), modes: Iterable[str] = ()
) -> list[Status]:
    """Those whose name contains ``name``, in whatever case, and that are in one of these states and modes, if any."""
    part, states, modes = name.casefold(), frozenset(states), frozenset(modes)
    return [
        status
        for status in statuses
        if part in status.name.casefold()
        and (not states or status.state in states)
        and (not modes or status.mode in modes)
    ]


def entry(found: Entry) -> dict[str, object]:
    """A line of a journal."""
    return {**dataclasses.asdict(found), "event": str(found.event)}


def parked_task(task: ParkedTask, *, now: float, show_args: bool) -> dict[str, object]:
    """A parked task; its arguments are null unless they may be shown. ``waited`` is in seconds."""
    hidden = {} if show_args else {"args": None, "kwargs": None}
    return {**dataclasses.asdict(task), **hidden, "waited": max(0.0, now - task.since) if task.since else None}


def policy_of(policy: Policy) -> dict[str, object]:
    """Every option of a policy; classes and callables by their dotted names."""
    return {field.name: _plain(getattr(policy, field.name)) for field in dataclasses.fields(policy)}


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    module, name = getattr(value, "__module__", ""), getattr(value, "__qualname__", type(value).__qualname__)
    return name if module in ("builtins", "") else f"{module}.{name}"


def attendance(workers: Iterable[WorkerSeen] | None) -> dict[str, object]:
    """The workers, and whether any of them tends the breakers.

    ``tended`` is the seconds since the last round of any agent, ``None`` if none is known; ``unattended`` is ``None``
    where workers cannot be asked.
    """
    if workers is None:
        return {"asked": False, "items": [], "tended": None, "agent": None, "unattended": None}
    found = list(workers)
    tended = min((worker.tended for worker in found if worker.tended is not None), default=None)
    agents = [worker.name for worker in found if worker.agent]
    return {
        "asked": True,
        "items": [dataclasses.asdict(worker) for worker in found],
        "tended": tended,
        "agent": agents[0] if agents else None,
        "unattended": not agents and (tended is None or tended > _UNTENDED),
    }
