"""What the eight processes of `test_permits.py` do: they meet at a half-open breaker, round after round.

Each call is noted in a file that all append to, which knows nothing of the store: a call begins after it was admitted
and ends before its outcome is reported, so calls that overlap in the file did overlap.
"""

from __future__ import annotations

import contextlib
import random
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier

from celery_breaker import Breaker, BreakerOpen, Policy
from celery_breaker.engine.breaker import _entries
from celery_breaker.stores.redis import RedisStore
from tests.integration.tasks import audit_line
from tests.support.waiting import eventually

_TRIES = 25
"""Attempts of each process in a round: the first together with all others, the rest while answers come in."""

_gate: Barrier


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run. ``rounds`` holds for each round whether the service is healthy in it."""

    url: str
    prefix: str
    path: str
    rounds: tuple[bool, ...]
    permits: int
    threshold: int
    seed: int

    @property
    def policy(self) -> Policy:
        return Policy(
            consecutive_failures=1,
            recovery_timeout=0.2,
            backoff="constant",
            jitter=0,
            half_open_calls=self.permits,
            success_threshold=self.threshold,
        )


class Refused(OSError):
    """What the service answers when it is not healthy."""


def set_up(gate: Barrier) -> None:
    global _gate  # noqa: PLW0603  an initializer has nowhere else to put it
    _gate = gate


def meet(plan: Plan, number: int) -> None:
    """All rounds of one process; number 0 sees to it that each begins with an open breaker."""
    breaker = Breaker(f"svc-{plan.permits}", policy=plan.policy, store=RedisStore(plan.url, prefix=plan.prefix))
    chance = random.Random(plan.seed + number)
    for healthy in plan.rounds:
        _gate.wait(60)
        if number == 0:
            _have_it_open(breaker, plan.path)
        eventually(lambda: breaker.state == "open", "it should be open", timeout=20)
        eventually(lambda: breaker.retry_after == 0, "it should be due", timeout=20, interval=0.01)
        _gate.wait(60)
        for _ in range(_TRIES):
            if not _one_call(breaker, plan.path, chance.choice((0.0, 0.003, 0.02)), healthy=healthy):
                time.sleep(chance.uniform(0, 0.005))


def _have_it_open(breaker: Breaker, path: str) -> None:
    """One failing call trips it, or fails as the probe of a round that ended half-open."""
    while breaker.state != "open":
        _one_call(breaker, path, 0.0, healthy=False)
        with contextlib.suppress(AssertionError):
            eventually(lambda: breaker.state == "open", timeout=2)


def _one_call(breaker: Breaker, path: str, seconds: float, *, healthy: bool) -> bool:
    """Whether it was admitted."""
    try:
        with breaker:
            entry = _entries.get()
            assert entry is not None
            admission = ("probe" if entry[1].permit else "call", entry[1].generation)
            audit_line(path, "begin", *admission)
            time.sleep(seconds)
            audit_line(path, "end", *admission)
            if not healthy:
                raise Refused
    except BreakerOpen:
        return False
    except Refused:
        return True
    return True
