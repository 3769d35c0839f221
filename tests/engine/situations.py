"""What a fleet has come to when a test begins."""

from __future__ import annotations

from dataclasses import replace

from celery_breaker.core import machine
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import State
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Ticket
from tests.engine.world import World, fail, known

RAMP = Policy(max_failures=3, failure_rate=0, jitter=0, admit_ramp=True, ramp_start=40)


def state(world: World) -> State:
    return world.stored().state


def opened(world: World, registry: Registry) -> None:
    """The breaker trips, and its interval passes."""
    fail(registry, 3)
    assert world.stored().state is State.OPEN
    world.clock.advance(30)


def half_open(world: World) -> tuple[Registry, Ticket, Registry]:
    """A process with the permit, and another that sees the breaker half-open."""
    one, other = world.process("w1"), world.process("w2")
    known(one)
    known(other)
    fail(one, 3)
    world.clock.advance(30)
    ticket = one.enter(one.cell("smtp"))
    assert ticket is not None
    known(other)
    return one, ticket, other


def closed_again(world: World, *, rate: float = 80.0) -> Registry:
    """A process that has just seen the breaker close, with an agent that releases at this rate."""
    registry = world.process("w0", tended=True)
    cell = registry.cell("smtp")
    registry.refresh(["smtp"])
    registry.change(cell, lambda record, now: replace(record, state=State.OPEN, generation=1, until=now + 30))
    registry.change(cell, lambda record, now: machine.close(record, now=now))
    registry.change(cell, lambda record, now: machine.ramped(record, rate))
    return registry
