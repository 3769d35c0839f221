"""What is simulated: a fleet, the service that its tasks call, the tasks, and a policy. Values, checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode
from celery_breaker.errors import ConfigurationError

__all__ = ["MAX_TASKS", "Fleet", "Load", "Outage", "Scenario", "Service"]

MAX_TASKS = 5_000_000
"""Tasks that one simulation may have; each costs some ten microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The workers, and how they hear of each other.

    Attributes:
        workers: how many.
        concurrency: slots of each pool.
        prefetch: messages per slot that a worker takes in advance (``worker_prefetch_multiplier``); 0 counts as 1.
        refresh_interval: seconds between reads of the record (``breaker_refresh_interval``).
        tend_interval: seconds between two rounds of an agent with nothing to do (``breaker_tend_interval``).
        bus_delay: seconds that an announcement takes to the workers; ``None`` is no bus.
        store_latency: seconds of one round trip to the store.
        parking_rate: messages per second that one worker can set aside.
        beat: beat reminds the agent.
    """

    workers: int = 8
    concurrency: int = 4
    prefetch: int = 4
    refresh_interval: float = 1.0
    tend_interval: float = 5.0
    bus_delay: float | None = 0.01
    store_latency: float = 0.001
    parking_rate: float = 1000.0
    beat: bool = True

    def __post_init__(self) -> None:
        _at_least(1, workers=self.workers, concurrency=self.concurrency)
        _at_least(0, prefetch=self.prefetch, store_latency=self.store_latency, bus_delay=self.bus_delay or 0)
        _above_zero(
            refresh_interval=self.refresh_interval, tend_interval=self.tend_interval, parking_rate=self.parking_rate
        )

    @property
    def ahead(self) -> int:
        """Messages that wait in workers rather than in the queue, when all are busy."""
        return self.workers * self.concurrency * (max(self.prefetch, 1) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A time during which calls fail.

    Attributes:
        start: second at which it begins.
        duration: seconds; may be infinite.
        failure_rate: share of the calls that fail.
        latency: seconds until a failing call has failed.
    """

    start: float = 20.0
    duration: float = 60.0
    failure_rate: float = 1.0
    latency: float = 1.0

    def __post_init__(self) -> None:
        _at_least(0, start=self.start, latency=self.latency)
        _above_zero(infinite=True, duration=self.duration)
        _share(failure_rate=self.failure_rate)

    @property
    def end(self) -> float:
        """Second at which calls succeed again."""
        return self.start + self.duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the tasks call. How a call goes is settled as it begins.

    Attributes:
        latency: seconds of a call, in the median.
        spread: standard deviation of the latency's logarithm; 0 makes all calls alike.
        failure_rate: share of the calls that fail at any time, as slowly as others succeed.
        capacity: calls per second that it can take, failing the rest; ``None`` is no limit.
        outages: in order.
    """

    latency: float = 0.1
    spread: float = 0.25
    failure_rate: float = 0.0
    capacity: float | None = None
    outages: tuple[Outage, ...] = ()

    def __post_init__(self) -> None:
        _at_least(0, latency=self.latency, spread=self.spread)
        _share(failure_rate=self.failure_rate)
        if self.capacity is not None:
            _above_zero(capacity=self.capacity)
        for before, after in zip(self.outages, self.outages[1:], strict=False):
            if after.start < before.end:
                raise ConfigurationError(
                    f"an outage begins at {after.start:g} s, before the last ends; put them in order"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The tasks; each makes one call.

    Attributes:
        rate: tasks per second, of the whole fleet.
        regular: at equal distances, rather than at random (Poisson).
        backlog: tasks that wait in the queue at the start.
        retries: times that a task whose call failed is tried again, as ``autoretry_for`` with ``retry_backoff`` does.
    """

    rate: float = 10.0
    regular: bool = False
    backlog: int = 0
    retries: int = 3

    def __post_init__(self) -> None:
        _at_least(0, rate=self.rate, backlog=self.backlog, retries=self.retries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One simulation. The same scenario always comes to the same end.

    Attributes:
        mode: an override that is in force from the start: `Mode.DISABLED` shows what would happen without a breaker.
        duration: seconds; ``None`` goes on until the last outage is over and its backlog done.
        seed: of all that is random.
        sample: seconds between two points of the time series.

    Raises:
        ConfigurationError: something is out of range, or the simulation would have no end.

    Example:
        >>> Scenario(service=Service(outages=(Outage(start=20, duration=60),))).horizon
        1280.0
    """

    policy: Policy = field(default_factory=Policy)
    fleet: Fleet = field(default_factory=Fleet)
    service: Service = field(default_factory=Service)
    load: Load = field(default_factory=Load)
    mode: Mode = Mode.AUTO
    duration: float | None = None
    seed: int = 0
    sample: float = 1.0

    def __post_init__(self) -> None:
        if self.policy.scope == "worker":
            raise ConfigurationError(
                "scope='worker' makes a breaker of each worker's own; simulate one worker, at one worker's rate, "
                "with scope='fleet'"
            )
        _above_zero(sample=self.sample)
        if self.duration is not None:
            _above_zero(duration=self.duration)
        if not math.isfinite(self.horizon):
            raise ConfigurationError("an outage without end needs a duration: how many seconds are simulated")
        tasks = self.load.rate * self.least + self.load.backlog
        if tasks > MAX_TASKS:
            raise ConfigurationError(
                f"{tasks:,.0f} tasks are more than the {MAX_TASKS:,} that can be simulated; lower the rate, and the "
                "workers with it, or the duration"
            )

    @property
    def recovered(self) -> float:
        """Second at which the last outage ends; 0 if there is none."""
        return self.service.outages[-1].end if self.service.outages else 0.0

    @property
    def least(self) -> float:
        """Seconds that are simulated in any case."""
        return self.duration if self.duration is not None else self.recovered + 60.0

    @property
    def horizon(self) -> float:
        """Seconds after which the simulation ends in any case."""
        return self.duration if self.duration is not None else self.recovered + 1200.0


def _at_least(least: float, **values: float) -> None:
    for name, value in values.items():
        if not (_is_number(value) and least <= value < math.inf):
            raise ConfigurationError(f"{name}={value!r} must be a number of at least {least}")


def _above_zero(*, infinite: bool = False, **values: float) -> None:
    for name, value in values.items():
        if not (_is_number(value) and (0 < value < math.inf or (infinite and value == math.inf))):
            raise ConfigurationError(f"{name}={value!r} must be a number above 0")


def _share(**values: float) -> None:
    for name, value in values.items():
        if not (_is_number(value) and 0 <= value <= 1):
            raise ConfigurationError(f"{name}={value!r} must be between 0 and 1")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
