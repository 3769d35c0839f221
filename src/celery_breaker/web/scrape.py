"""``/metrics``: what Prometheus scrapes, on the dashboard's own sampler. What it says is for another room to write."""

from __future__ import annotations

from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from celery_breaker.status.sampler import Sampler
from celery_breaker.web.console import console_of

__all__ = ["Exposition", "metrics_route"]

Exposition = Callable[[str], tuple[bytes, str]]
"""Called with an ``Accept`` header: the body of the answer and its content type. Thread-safe."""


def metrics_route(expose: Callable[[Sampler], Exposition]) -> BaseRoute:
    """The route, for ``create_app(routes=…)``; of one dashboard, for it keeps its exposition.

    Args:
        expose: called once, with the dashboard's sampler; `celery_breaker.metrics.prometheus.exposing`.

    Example:
        In a project's own ASGI app::

            create_app(current_desk(), routes=[metrics_route(exposing)])
    """
    made: list[Exposition] = []

    async def metrics(request: Request) -> Response:
        console = console_of(request)
        await console.seen()
        if not made:  # nothing is awaited in between, so it happens once
            made.append(expose(console.sampler))
        body, content_type = await run_in_threadpool(made[0], request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return Route("/metrics", metrics, methods=["GET"])
