from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from celery_breaker.core.policy import Policy
from celery_breaker.errors import ConfigurationError
from celery_breaker.simulation.scenario import Fleet, Load, Outage, Scenario, Service


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Fleet(workers=0), "workers=0"),
        (lambda: Fleet(refresh_interval=0), "refresh_interval=0"),
        (lambda: Fleet(bus_delay=-1.0), "bus_delay=-1.0"),
        (lambda: Fleet(workers=True), "workers=True"),
        (lambda: Outage(failure_rate=1.5), "between 0 and 1"),
        (lambda: Outage(duration=0), "duration=0"),
        (lambda: Service(latency=math.inf), "latency=inf"),
        (lambda: Service(capacity=0), "capacity=0"),
        (lambda: Service(outages=(Outage(start=0, duration=10), Outage(start=5))), "in order"),
        (lambda: Load(rate=-1), "rate=-1"),
        (lambda: Scenario(policy=Policy(scope="worker")), "simulate one worker"),
        (lambda: Scenario(service=Service(outages=(Outage(duration=math.inf),))), "needs a duration"),
        (lambda: Scenario(load=Load(rate=1e6)), "lower the rate"),
        (lambda: Scenario(sample=0), "sample=0"),
    ],
)
def test_what_cannot_be_simulated_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        make()


def test_an_outage_without_end_may_be_simulated_for_a_while() -> None:
    service = Service(outages=(Outage(duration=math.inf),))
    assert Scenario(service=service, duration=100.0).horizon == 100.0


def test_workers_keep_what_they_took_in_advance() -> None:
    assert Fleet(workers=2, concurrency=3, prefetch=4).ahead == 18
    assert Fleet(prefetch=0).ahead == Fleet(prefetch=1).ahead == 0
