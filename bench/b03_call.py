"""Row 3: `Breaker.call` of a no-op with a closed breaker, in one process, beside its peers."""

from __future__ import annotations

import logging
import timeit
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import circuitbreaker
import interlock
import purgatory
import pybreaker
import redis
from interlock.integrations.redis import RedisStorage

from bench import drawing
from bench.pairs import Spread, interleaved, ratio, spread
from bench.rows import Row
from bench.servers import Servers
from celery_breaker import Breaker
from celery_breaker.engine.default import registry_at

BAR = 1.5
OURS = "celery-breaker, Redis"

MEASURES = (
    "Nanoseconds per call of a function that does nothing, through a closed breaker, loop included; each peer in the "
    "fastest of the forms it offers. Those that share state have a Redis on the same machine."
)


_spreads: dict[str, Spread] = {}


@dataclass(frozen=True, slots=True)
class Arm:
    """A breaker in one form: ``statement`` calls ``noop`` through ``breaker``, ``calls`` times in a measurement."""

    breaker: Any
    statement: str = "breaker.call(noop)"
    shares: bool = False
    calls: int = 100_000

    def measure(self, scale: float) -> float:
        """Nanoseconds per call."""
        calls = max(20, int(self.calls * scale))
        timer = timeit.Timer(self.statement, globals={"breaker": self.breaker, "noop": _noop})
        return timer.timeit(calls) / calls * 1e9


def _noop() -> None:
    return None


def rows(quick: bool) -> list[Row]:
    """Two rows with bars, then the figure of each arm."""
    with Servers() as servers, ExitStack() as stack:
        server = servers.redis()
        stack.callback(lambda: registry_at(server.url).close())  # before its Redis ends
        arms = _arms(server.url, stack.enter_context(server.client()), stack)
        scale = 0.02 if quick else 1.0
        measures = {name: partial(arm.measure, scale) for name, arm in arms.items()}
        interleaved(measures, rounds=1)
        figures = interleaved(measures, rounds=3 if quick else 21)
    _spreads.update({name: spread(found) for name, found in figures.items()})
    peers = {name: arm for name, arm in arms.items() if "celery-breaker" not in name and name != "a bare call"}
    sharing = _fastest(figures, [name for name, arm in peers.items() if arm.shares])
    alone = _fastest(figures, [name for name, arm in peers.items() if not arm.shares])
    return [
        _against(figures, sharing, "the fastest peer that shares state", bar=1.0, strictly=True),
        _against(figures, alone, "the fastest peer that does not", bar=BAR, strictly=False),
        *(_shown(name, figures[name]) for name in arms),
    ]


def plot(folder: Path) -> None:
    """Draw nanoseconds per call."""
    drawing.bars(folder / "bench-03-call.svg", _spreads, label="ns per call of a no-op, breaker closed", log=True)


def _arms(url: str, client: redis.Redis, stack: ExitStack) -> Mapping[str, Arm]:
    logging.getLogger("pybreaker").setLevel(logging.ERROR)
    coordinated = stack.enter_context(closing(interlock.CircuitBreaker(name="bench", storage=RedisStorage(client))))
    storage = pybreaker.CircuitRedisStorage(pybreaker.STATE_CLOSED, client)
    return {
        "a bare call": Arm(None, "noop()", calls=1_000_000),
        OURS: Arm(Breaker("bench", store=url), shares=True),
        "celery-breaker, memory": Arm(Breaker("bench", store="memory://")),
        "pybreaker, Redis": Arm(pybreaker.CircuitBreaker(state_storage=storage), shares=True, calls=500),
        "interlock-cb, Redis": Arm(coordinated, shares=True, calls=10_000),
        "pybreaker": Arm(pybreaker.CircuitBreaker(), calls=50_000),
        "circuitbreaker": Arm(circuitbreaker.CircuitBreaker(name="bench")),
        "purgatory": Arm(purgatory.SyncCircuitBreakerFactory().get_breaker("bench"), "with breaker: noop()"),
        "interlock-cb": Arm(interlock.CircuitBreaker(name="bench"), calls=10_000),
    }


def _fastest(figures: Mapping[str, list[float]], names: list[str]) -> str:
    return min(names, key=lambda name: spread(figures[name]).median)


def _against(figures: Mapping[str, list[float]], peer: str, what: str, *, bar: float, strictly: bool) -> Row:
    found = ratio(figures[OURS], figures[peer])
    return Row(
        number=3,
        what=f"Breaker.call ÷ {what}",
        figure=f"{found:.3f}",
        bar=f"{'<' if strictly else '≤'} {bar:g}",
        met=found.median < bar if strictly else found.median <= bar,
        note=f"which is {peer}",
    )


def _shown(name: str, nanoseconds: list[float]) -> Row:
    return Row(number=3, what=f"ns per call, {name}", figure=f"{spread(nanoseconds):,.0f}", bar="", met=None)
