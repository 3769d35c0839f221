"""The gauges: what is known of the breakers at this moment, from memory and without a round trip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from celery_breaker.core.record import Mode, State
from celery_breaker.engine.registry import Registry
from celery_breaker.metrics import table
from celery_breaker.metrics.labels import OTHER, Labels
from celery_breaker.metrics.table import Metric
from celery_breaker.status.model import Status, remembered
from celery_breaker.status.sampler import Sampler, Seen

__all__ = ["Figure", "gauges"]


class Figure(NamedTuple):
    """One value; labels in the order of the metric's."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


def gauges(registry: Registry, sampler: Sampler | None, labels: Labels) -> list[Figure]:
    """What a process knows of the breakers.

    Args:
        registry: what it has seen of them itself.
        sampler: what it has looked up for others to see, if it does.
    """
    if sampler is None:
        statuses = remembered(registry)
        found = _merged(_own(statuses), labels, statuses)
        age = None if registry.read_at is None else registry.clock() - registry.read_at
        connected = registry.link.connected
    else:
        seen = sampler.seen
        statuses = list(seen.statuses.values())
        found = [*_merged(_looked_up(statuses), labels, statuses), *_workers(seen)]
        age = registry.link.now() - seen.at if seen.at else None
        connected = registry.link.connected and not seen.error
    if age is not None:
        found.append(Figure(table.VIEW_AGE, (), max(0.0, age)))
    found.append(Figure(table.CONNECTED, (), float(connected)))
    return found


def _own(statuses: Iterable[Status]) -> Iterator[Figure]:
    for status in statuses:
        name = status.name
        for state in State:
            yield Figure(table.STATE, (name, str(state)), float(status.state == state))
        for mode in Mode:
            yield Figure(table.MODE, (name, str(mode)), float(status.mode == mode))
        yield Figure(table.TRIPS, (name,), status.trips)
        if status.retry_after is not None:
            yield Figure(table.RETRY_AFTER, (name,), status.retry_after)


def _looked_up(statuses: Iterable[Status]) -> Iterator[Figure]:
    for status in statuses:
        yield from _own([status])
        label = (status.name,)
        yield Figure(table.WINDOW_CALLS, label, status.calls)
        yield Figure(table.WINDOW_FAILURES, label, status.failures)
        yield Figure(table.WINDOW_SLOW, label, status.slow)
        if status.parked is not None:
            yield Figure(table.PARKED, label, status.parked)
        if status.oldest_parked is not None:
            yield Figure(table.OLDEST_PARKED, label, status.oldest_parked)


def _merged(figures: Iterable[Figure], labels: Labels, statuses: list[Status]) -> list[Figure]:
    """With the breakers that have no label of their own put together."""
    shown = labels.shown(statuses)
    merged: dict[tuple[str, tuple[str, ...]], Figure] = {}
    for metric, (name, *rest), value in figures:
        label = (name if name in shown else OTHER, *rest)
        before = merged.get((metric.key, label))
        if before is not None:
            value = before.value + value if metric.adds else max(before.value, value)
        merged[metric.key, label] = Figure(metric, label, value)
    return list(merged.values())


def _workers(seen: Seen) -> Iterator[Figure]:
    if seen.workers is None:
        return
    yield Figure(table.WORKERS, (), len(seen.workers))
    yield Figure(table.CUT_OFF, (), sum(not worker.connected for worker in seen.workers))
    ages = [worker.tended for worker in seen.workers if worker.tended is not None]
    if ages:
        yield Figure(table.TENDED_AGE, (), min(ages))
