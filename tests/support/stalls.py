"""How late an event loop is while calls go through a breaker whose store hangs, beside calls without a breaker.

Both kinds of calls take turns in one run, so that what the machine itself does disturbs them alike.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import anyio

from celery_breaker import Breaker, BreakerOpen, Policy
from celery_breaker.core.record import State
from celery_breaker.engine.default import registry_at
from celery_breaker.engine.registry import Registry
from tests.support.servers import RedisServer

STALL = 0.005
"""Seconds by which a loop is late that somebody blocks."""

_NAP = 0.001
_TURN = 0.25
_TASKS = 8
_numbers = itertools.count(1)


class Down(OSError):
    """What the service raises."""


@dataclass(slots=True)
class Lateness:
    """Seconds by which short sleeps took longer than they should, with calls through the breaker and without one."""

    guarded: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)

    @property
    def stalls(self) -> int:
        """How many more sleeps were late by over `STALL` than there were without a breaker, which is the noise."""
        return _late(self.guarded) - _late(self.bare)

    @property
    def doubt(self) -> float:
        """Three standard deviations of `stalls`, were both sides nothing but noise."""
        return 3 * math.sqrt(_late(self.guarded) + _late(self.bare))

    @property
    def worst(self) -> float:
        """Seconds by which the worst beside guarded calls was later than the worst without a breaker."""
        return max(self.guarded) - max(self.bare)

    @property
    def sides(self) -> str:
        """The worst of either side, and how many were late."""

        def side(found: list[float]) -> str:
            late = f"{_late(found)} of {len(found):,} sleeps late by over {STALL * 1e3:.0f} ms"
            return f"{late}, worst {max(found) * 1e3:.0f} ms"

        return f"{side(self.guarded)}; without a breaker {side(self.bare)}"

    @property
    def calls(self) -> str:
        """How the calls through the breaker ended."""
        return ", ".join(f"{count:,} {end}" for end, count in sorted(self.ends.items()))

    def __str__(self) -> str:
        return f"{self.sides}; {self.calls}"


def _late(found: list[float]) -> int:
    return sum(late > STALL for late in found)


Call = Callable[[Breaker, Callable[[], Awaitable[None]]], Awaitable[None]]


async def awaited(breaker: Breaker, service: Callable[[], Awaitable[None]]) -> None:
    """A call as it should be."""
    async with breaker:
        await service()


async def blocking(breaker: Breaker, service: Callable[[], Awaitable[None]]) -> None:
    """A call as it should not be: what the detector must notice."""
    with breaker:
        await service()


async def _up() -> None:
    await anyio.sleep(0)


async def _down() -> None:
    await anyio.sleep(0)
    raise Down


async def while_store_hangs(state: State, server: RedisServer, *, seconds: float, call: Call = awaited) -> Lateness:
    """Calls for so many seconds, through a breaker in this state, from the moment on at which the store is stopped."""
    registry = registry_at(server.url)
    policy = Policy(max_failures=3, failure_rate=0, jitter=0, backoff="constant", recovery_timeout=_recovery(state))
    breaker = Breaker(f"stalls-{next(_numbers)}", policy=policy, store=server.url)
    await _until(lambda: registry.link.connected)
    await breaker.acall(_up)
    if state is not State.CLOSED:
        await _trip(breaker, registry)
    service = _up if state is State.CLOSED else _down
    found = Lateness()
    turn = _Turn()
    with _stopped(server):
        async with anyio.create_task_group() as group:
            group.start_soon(_watch, turn, found)
            for _ in range(_TASKS):
                group.start_soon(_load, turn, found, breaker, service, call)
            for _ in range(max(1, round(seconds / (2 * _TURN)))):
                for turn.guarded in (True, False):
                    await anyio.sleep(_TURN)
            group.cancel_scope.cancel()
    return found


def _recovery(state: State) -> float:
    """Half-open is a state that has to come again and again, open one that has to last."""
    return 0.3 if state is State.HALF_OPEN else 600.0


class _Turn:
    guarded = True


async def _watch(turn: _Turn, found: Lateness) -> None:
    while True:
        before, guarded = time.perf_counter(), turn.guarded
        await anyio.sleep(_NAP)
        late = time.perf_counter() - before - _NAP
        # Where the turn changed meanwhile, the doubt is against the breaker.
        (found.guarded if guarded or turn.guarded else found.bare).append(late)


async def _load(
    turn: _Turn, found: Lateness, breaker: Breaker, service: Callable[[], Awaitable[None]], call: Call
) -> None:
    while True:
        try:
            if turn.guarded:
                await call(breaker, service)
                end = "done"
            else:
                with suppress(Down):
                    await service()
                end = ""
        except BreakerOpen:
            end = "refused"
        except Down:
            end = "failed"
        if end:
            found.ends[end] = found.ends.get(end, 0) + 1
        await anyio.sleep(0.002)


async def _trip(breaker: Breaker, registry: Registry) -> None:
    for _ in range(3):
        with suppress(Down):
            await breaker.acall(_down)
    await _until(lambda: registry.cell(breaker.name).record.state is State.OPEN)


async def _until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not condition():
            await anyio.sleep(0.02)


@contextmanager
def _stopped(server: RedisServer) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()
