"""A short life of two breakers, by which figures can be told."""

from __future__ import annotations

from celery_breaker.core.record import Mode
from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.registry import Registry
from celery_breaker.status import actions
from tests.engine.world import end, fail, succeed
from tests.status.desks import Office


def trip_and_probe(registry: Registry, clock_advance: float, at: Office, name: str = "smtp") -> None:
    """Two successes, three failures that trip, and a probe that fails."""
    succeed(registry, 2, name)
    fail(registry, 3, name)
    at.clock.advance(clock_advance)
    end(registry, registry.enter(registry.cell(name)), Verdict.FAILURE)


def live(at: Office) -> None:
    """`smtp` trips, fails its probe and is open for the second time; seven tasks wait. `crm` is forced open."""
    trip_and_probe(at.registry, 30.0, at)
    at.lots.park("smtp", 7, since=at.clock() - 12)
    at.desk.act("crm", actions.force(Mode.FORCED_OPEN, by="eve", reason="we move"))
