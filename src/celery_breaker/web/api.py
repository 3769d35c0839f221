"""REST: everything that can be seen and done, as JSON, below ``/api/v1``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from celery_breaker.status import urgent_first
from celery_breaker.web.console import Console, console_of

__all__ = ["routes"]


def routes(console: Console) -> list[BaseRoute]:
    """The routes."""
    return [Route("/breakers", breakers)]


async def breakers(request: Request) -> Response:
    """All breakers, those first that need somebody."""
    seen = await console_of(request).seen()
    return JSONResponse({"items": [status.as_dict() for status in urgent_first(seen.statuses.values())]})
