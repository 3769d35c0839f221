"""The same scenario for fleets of several sizes, at several rates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from celery_breaker.simulation.report import Report
from celery_breaker.simulation.run import simulate
from celery_breaker.simulation.scenario import Scenario

__all__ = ["Run", "fleet_table"]


@dataclass(frozen=True, slots=True)
class Run:
    """One size of the fleet, one rate of tasks per second, one seed, and what came of it."""

    workers: int
    rate: float
    seed: int
    report: Report


def fleet_table(
    base: Scenario, *, workers: Iterable[int], rates: Iterable[float], seeds: Iterable[int] = (0,)
) -> list[Run]:
    """Simulate every combination; what is not varied is ``base``'s.

    Example:
        >>> [run.report.trips for run in fleet_table(Scenario(), workers=(1, 10), rates=(5.0,))]
        [0, 0]
    """
    rates, seeds = tuple(rates), tuple(seeds)
    runs = []
    for size in workers:
        for rate in rates:
            for seed in seeds:
                fleet, load = replace(base.fleet, workers=size), replace(base.load, rate=rate)
                report = simulate(replace(base, fleet=fleet, load=load, seed=seed))
                runs.append(Run(size, rate, seed, report))
    return runs
