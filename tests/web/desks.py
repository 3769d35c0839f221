"""A dashboard on a desk without Celery, and clients of it; nothing runs by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.testclient import TestClient

from celery_breaker.status.sampler import Sampler
from celery_breaker.web import WebOptions, create_app
from tests.engine.world import SilentReporter
from tests.status.desks import Declared, Office, office

API = "/api/v1"


@dataclass
class Room:
    """An office with a dashboard: turn `at.clock`, and look with `sampler.look()`."""

    at: Office
    sampler: Sampler
    app: Starlette
    client: TestClient


def room(*, declared: Declared | None = None, routes: Any = (), **options: Any) -> Room:
    """A new one; `options` are those of `WebOptions`. The client asks for paths below the API."""
    at = office(declared)
    sampler = Sampler(at.desk, clock=at.clock)
    sampler._background = SilentReporter()  # type: ignore[assignment]
    sampler.look()
    app = create_app(at.desk, sampler=sampler, options=WebOptions(**options), routes=routes, clock=at.clock)
    return Room(at, sampler, app, client_of(app))


def client_of(app: Starlette, **how: Any) -> TestClient:
    """A client that calls itself by a name of this machine."""
    return TestClient(app, **{"base_url": f"http://localhost:5556{API}", **how})
