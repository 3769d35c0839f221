"""Scenarios for tests: without chance where it would only be in the way."""

from __future__ import annotations

from typing import Any

from celery_breaker.core.policy import Policy
from celery_breaker.simulation.report import Report, Tasks
from celery_breaker.simulation.run import simulate
from celery_breaker.simulation.scenario import Fleet, Load, Outage, Scenario, Service

POLICY = Policy(max_failures=5, failure_rate=0, recovery_timeout=30, jitter=0, backoff="constant")
"""Trips with the fifth failure, and probes every thirty seconds."""


def scenario(
    *,
    policy: Policy = POLICY,
    outage: float = 60.0,
    start: float = 20.0,
    down_latency: float = 0.05,
    latency: float = 0.1,
    rate: float = 20.0,
    fleet: Fleet | None = None,
    load: dict[str, Any] | None = None,
    service: dict[str, Any] | None = None,
    **options: Any,
) -> Scenario:
    """Regular arrivals, calls that all take the same time, one outage."""
    outages = (Outage(start=start, duration=outage, latency=down_latency),) if outage else ()
    return Scenario(
        policy=policy,
        fleet=fleet or Fleet(),
        service=Service(**{"latency": latency, "spread": 0.0, "outages": outages, **(service or {})}),
        load=Load(**{"rate": rate, "regular": True, **(load or {})}),
        **options,
    )


def run(**options: Any) -> Report:
    """Simulate `scenario`."""
    return simulate(scenario(**options))


def accounted(tasks: Tasks) -> int:
    """Tasks that are done or somewhere."""
    ended = tasks.done + tasks.failed + tasks.refused + tasks.fallbacks
    return ended + tasks.parked + tasks.waiting + tasks.delayed + tasks.running
