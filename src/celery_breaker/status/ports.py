"""What the desk needs of the world outside the engine: which breakers there are, the parking queues, the workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from celery_breaker.core.policy import Policy

__all__ = ["Catalogue", "Fleet", "ParkedTask", "Waiting", "WorkerSeen", "Yard"]


class Catalogue(Protocol):
    """Which breakers an app declares, and which tasks they guard.

    Example:
        The app's own::

            current_desk().catalogue.guarded["mail.send"]
    """

    @property
    def declared(self) -> Mapping[str, Policy]:
        """Policies by name or template."""
        ...

    @property
    def guarded(self) -> Mapping[str, Sequence[str]]:
        """Names and templates by task."""
        ...

    def of(self, name: str) -> Policy:
        """The policy of a breaker."""
        ...

    def knows(self, name: str) -> bool:
        """Whether it is declared, or could come from a template."""
        ...

    def names(self) -> list[str]:
        """Declared names that are not templates."""
        ...

    def queue_of(self, task: str, /) -> str:
        """The queue that a task goes to unless its sender says otherwise; empty if only its call can tell."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedTask:
    """A message in a parking queue, as its headers tell it; nothing of it is decoded.

    Attributes:
        args, kwargs: as the sender represented them, cut short; for who may see them.
        queue: where it goes back to.
        since: when it was parked, in seconds of the store's clock.
        deferrals: how often it was set aside so far.

    Example:
        The one that has waited longest::

            [oldest] = current_desk().parked("smtp", count=1)
    """

    id: str
    task: str
    queue: str
    since: float
    deferrals: int
    args: str = ""
    kwargs: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in a parking queue: how many tasks, and since when (store's clock) the oldest, if that can be told.

    Example:
        >>> Waiting(3).since is None
        True
    """

    size: int
    since: float | None = None


class Yard(Protocol):
    """The parking queues of an app's broker. Thread-safe; every method may raise `BrokerError`.

    Example:
        How many are parked, of all breakers::

            desk = current_desk()
            waiting = desk.yard.look(desk.names(), patience=2.0)
            print(sum(queue.size for queue in waiting.values()))
    """

    def look(self, names: Iterable[str], *, patience: float) -> Mapping[str, Waiting]:
        """What waits, by breaker, as far as it could be seen within ``patience`` seconds. Raises nothing."""
        ...

    def peek(self, name: str, *, offset: int, count: int) -> list[ParkedTask]:
        """Some parked tasks, the oldest first, which stay where they are."""
        ...

    def size(self, name: str) -> int:
        """How many are parked."""
        ...

    def release(self, name: str, count: int | None) -> int:
        """Send so many (or all) back to their queues at once; how many went."""
        ...

    def purge(self, name: str) -> int:
        """Delete all; how many there were."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSeen:
    """What a worker said of itself.

    Attributes:
        connected: whether it reaches the store; else it goes on with breakers of its own.
        view_age: seconds since it last read the records.
        agent: whether it holds the agent lease.
        tended: seconds since it last tended; ``None`` if it never did.

    Example:
        Those that are on their own::

            alone = [seen.name for seen in current_desk().fleet.workers(wait=1.0) or () if not seen.connected]
    """

    name: str
    store: str
    connected: bool
    view_age: float | None
    agent: bool
    tended: float | None


class Fleet(Protocol):
    """The workers of an app.

    Example:
        Whether anybody is there::

            workers = current_desk().fleet.workers(wait=1.0)
            print("cannot be asked" if workers is None else f"{len(workers)} online")
    """

    def workers(self, *, wait: float) -> list[WorkerSeen] | None:
        """Those that answer within ``wait`` seconds; ``None`` where this transport cannot ask them. Raises nothing."""
        ...
