from __future__ import annotations

import pytest

from celery_breaker.engine.breaker import Breaker
from celery_breaker.engine.registry import Registry
from tests.engine.world import World, breaker_in
from tests.support import properties
from tests.support.guards import no_sleep

__all__ = ["no_sleep", "properties"]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def registry(world: World) -> Registry:
    """One process of the world, `worker` "w1"."""
    return world.process()


@pytest.fixture
def breaker(registry: Registry) -> Breaker:
    """The breaker "smtp" of that process."""
    return breaker_in(registry)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """What a test marked ``anyio`` runs on."""
    backend: str = request.param
    return backend
