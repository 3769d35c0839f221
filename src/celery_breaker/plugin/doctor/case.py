"""What ``celery breaker doctor`` knows and what it finds: values, so that each check can be tried without a server."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field

from celery_breaker.core.policy import Policy

__all__ = [
    "BrokerFacts",
    "Check",
    "Facts",
    "Finding",
    "QueueFacts",
    "Severity",
    "StoreFacts",
    "TaskFacts",
    "WorkerFacts",
    "hint",
    "problem",
    "some",
]


class Severity(str, enum.Enum):
    """How bad it is: tasks are lost, doubled, stuck or unguarded, or something could be better."""

    PROBLEM = "problem"
    HINT = "hint"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to change: what is wrong in one clause, and the cure in another."""

    severity: Severity
    check: str
    says: str
    cure: str

    def as_dict(self) -> dict[str, str]:
        """As plain values, fit for JSON."""
        return {**asdict(self), "severity": self.severity.value}


def problem(check: str, says: str, cure: str) -> Finding:
    """A finding that a deploy should stop for."""
    return Finding(Severity.PROBLEM, check, says, cure)


def hint(check: str, says: str, cure: str) -> Finding:
    """A finding that can wait."""
    return Finding(Severity.HINT, check, says, cure)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """The store, as seen from here.

    Attributes:
        url: without credentials.
        kind: redis, sql, django, memcached, message or memory.
        shared: false when each worker is left to itself; ``why`` says the reason.
        error: why it cannot be used, or nothing.
        away: it did not answer, as opposed to settings that cannot work.
        round_trip: seconds; ``None`` if it was not measured.
        timeout: seconds that a round trip may take.
        skew: seconds that the store's clock is ahead of this machine's.
        remote: it listens on a network.
        protected: whoever uses it must prove who they are.
        writable_file: path of a database file into which every user of its machine may write, or nothing.
        strangers: breakers with a record that this app's settings and tasks do not know.
    """

    url: str
    kind: str
    why: str = ""
    shared: bool = True
    error: str = ""
    away: bool = False
    round_trip: float | None = None
    timeout: float = 1.0
    skew: float | None = None
    remote: bool = False
    protected: bool = True
    writable_file: str = ""
    prefix: str = "celery-breaker"
    strangers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFacts:
    """The broker.

    Attributes:
        url: without credentials.
        transport: as kombu calls it, such as ``amqp``, ``redis``, ``sqs``.
        error: why it cannot be reached, or nothing.
        visibility: seconds after which it gives an unacknowledged message out again; ``None`` if it never does.
        parking: what is wrong with a parking queue, by its name.
    """

    url: str
    transport: str
    error: str = ""
    visibility: float | None = None
    parking: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """A task. Times in seconds; ``None`` is none.

    Attributes:
        breakers: names or templates that guard it.
        time_limit: after which it is killed.
        longest_delay: for which its own retries are put off, at the most.
    """

    name: str
    breakers: tuple[str, ...] = ()
    time_limit: float | None = None
    longest_delay: float | None = None
    acks_late: bool = False
    keeps_result: bool = True


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """A worker that is online; ``skew`` is by how many seconds its clock is ahead of this machine's, if it said."""

    name: str
    skew: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFacts:
    """A queue that tasks go to."""

    name: str
    quorum: bool = False
    delivery_limit: int | None = None
    dead_letters: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is looked at.

    Attributes:
        policies: by name or template.
        set_up: names that the settings declare, as opposed to tasks.
        workers: who is online; ``None`` if that cannot be asked on this broker.
        overdue: seconds since an open breaker should have been probed, by name.
        pause_error: why a queue cannot be paused, or nothing.
        result_expires: seconds that results, or a chord's keys, are kept; ``None`` is for ever.
    """

    store: StoreFacts
    broker: BrokerFacts
    policies: Mapping[str, Policy] = field(default_factory=dict)
    set_up: tuple[str, ...] = ()
    tasks: tuple[TaskFacts, ...] = ()
    workers: tuple[WorkerFacts, ...] | None = None
    queues: tuple[QueueFacts, ...] = ()
    overdue: Mapping[str, float] = field(default_factory=dict)
    pause_error: str = ""
    result_expires: float | None = None
    prefetch_multiplier: int = 4
    detects_quorum: bool = True

    def limits(self, breaker: str) -> list[float]:
        """The hard time limits of the tasks that a breaker guards."""
        return [task.time_limit for task in self.tasks if breaker in task.breakers and task.time_limit]


Check = Callable[[Facts], Iterable[Finding]]


def some(names: Iterable[str], most: int = 3) -> str:
    """A few of many names.

    Example:
        >>> some(["a", "b", "c", "d", "e"])
        'a, b, c and 2 more'
    """
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
