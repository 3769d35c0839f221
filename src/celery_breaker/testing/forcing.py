"""Forcing a breaker: what to write into its record, and how to put back what was there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from celery_breaker.core import machine
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Record, State
from celery_breaker.core.windows import Totals
from celery_breaker.engine.registry import Registry
from celery_breaker.errors import BreakerError, ConfigurationError, StoreError, suggestion
from celery_breaker.testing.house import House

__all__ = ["check_word", "forcing", "trip"]

_HELD = {"open": Mode.FORCED_OPEN, "disabled": Mode.DISABLED, "observing": Mode.OBSERVING}
_PUT = {"closed": State.CLOSED, "half_open": State.HALF_OPEN}

_BY = "a test"


def check_word(word: str) -> None:
    """Raise `ConfigurationError` unless a breaker can be forced to this."""
    if word not in _HELD and word not in _PUT:
        raise ConfigurationError(f"a breaker cannot be forced {word!r}{suggestion(word, (*_HELD, *_PUT))}")


def _put(record: Record, state: State, now: float) -> Record:
    """In this state, from where it goes on by its rules; a new generation, so that nothing late counts."""
    fresh = replace(record, state=state, generation=record.generation + 1, since=now, until=0.0, successes=0)
    return replace(fresh, override=None, reason="put so by a test")


def _put_back(record: Record, before: Record, *, ours: Record, now: float) -> Record:
    """As it was before; but what somebody said meanwhile stays."""
    if ours.override is not None:
        if record.override != ours.override:
            return record
        lifted = machine.override(record, Mode.AUTO, now=now)
        return replace(lifted, override=before.override)
    kept = {"version": record.version, "tuning": record.tuning, "generation": record.generation + 1, "draining": True}
    return replace(before, **kept, since=now)  # type: ignore[arg-type]


@contextmanager
def forcing(house: House, name: str, word: str, *, wait: float) -> Iterator[None]:
    """Force one breaker of this house.

    Raises:
        BreakerError: not every worker has heard of it in time.
    """
    check_word(word)
    house.check(name)
    before, ours = _change(house.registry, name, lambda record, now: _forced(record, word, now))
    try:
        if deaf := house.heard(ours, wait=wait):
            raise BreakerError(f"breaker {name!r} was forced {word}, but {deaf} did not hear of it within {wait:g} s")
        yield
    finally:
        _, after = _change(house.registry, name, lambda record, now: _put_back(record, before, ours=ours, now=now))
        house.heard(after, wait=wait)


def _forced(record: Record, word: str, now: float) -> Record:
    if (mode := _HELD.get(word)) is not None:
        return machine.override(record, mode, now=now, reason="forced by a test", by=_BY)
    return _put(record, _PUT[word], now)


def trip(house: House, name: str) -> None:
    """Open a breaker as if its calls had failed, or its probe."""
    house.check(name)
    registry = house.registry
    policy, u = registry.cell(name).policy, registry.random()

    def step(record: Record, now: float) -> Record:
        if record.state is State.HALF_OPEN:
            fault = {"generation": record.generation, "reason": "probe failed"}
            return machine.probe_failed(record, policy, now=now, u=u, **fault)  # type: ignore[arg-type]
        return machine.tripped(record, _enough(policy, now), policy, now=now, u=u)

    _change(registry, name, step)


def _enough(policy: Policy, now: float) -> Totals:
    """A window that breaks every rule there is."""
    calls = max(policy.max_failures, policy.consecutive_failures or 0)
    workers = {f"worker {number}": calls for number in range(policy.min_workers)}
    return Totals(now=now, calls=calls, failures=calls, slow=calls, streak=calls, workers=workers)


def _change(registry: Registry, name: str, step: Callable[[Record, float], Record]) -> tuple[Record, Record]:
    """The record before and after."""
    cell = registry.cell(name)
    registry.refresh([name])
    seen: list[Record] = []

    def noting(record: Record, now: float) -> Record:
        seen.append(record)
        return step(record, now)

    after = registry.change(cell, noting, by=_BY)
    if not registry.link.connected:
        raise StoreError(f"breaker {name!r} cannot be forced: its store {registry.link.shared.url} is out of reach")
    return seen[-1], after
