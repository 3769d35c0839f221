"""The ASGI app: routes, the guard before them, and the sampler behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount

from celery_breaker.clock import Clock, monotonic
from celery_breaker.status import Desk
from celery_breaker.status.sampler import Sampler
from celery_breaker.web import api, pages, problems
from celery_breaker.web.console import Console
from celery_breaker.web.frame import error_page
from celery_breaker.web.guard import Guard
from celery_breaker.web.options import WebOptions

__all__ = ["create_app"]

_INTERVAL = 0.5
"""Seconds between two looks, so that a change is seen within a second."""


def create_app(
    desk: Desk,
    *,
    options: WebOptions | None = None,
    sampler: Sampler | None = None,
    routes: Sequence[BaseRoute] = (),
    clock: Clock = monotonic,
) -> Starlette:
    """The dashboard as an ASGI app, to be served by itself or mounted in another.

    Mounted, it needs no lifespan: it starts to look with the first request. ``app.state.console`` is its `Console`.

    Args:
        options: see `WebOptions`.
        sampler: one that you start and stop; without, the app has its own.
        routes: more of them, behind the same guard.
        clock: in seconds, for how long a client waits that failed to log in.

    Example:
        In a project's own ASGI app, as ``/breakers``::

            from celery_breaker.status.default import current_desk
            from celery_breaker.web import WebOptions, create_app

            dashboard = create_app(current_desk(), options=WebOptions(hosts=("ops.example.org",)))
            application = Starlette(routes=[Mount("/breakers", app=dashboard), Mount("/", app=the_rest)])
    """
    options = options or WebOptions()
    console = Console(
        desk=desk, sampler=sampler or Sampler(desk, interval=_INTERVAL), options=options, owned=sampler is None
    )
    inner: list[BaseRoute] = [Mount("/api/v1", routes=api.routes(console)), *pages.routes(console), *routes]
    app = Starlette(
        routes=[Mount(options.url_prefix, routes=inner)] if options.url_prefix else inner,
        middleware=[Middleware(Guard, console=console, clock=clock)],
        exception_handlers=problems.handlers,
        lifespan=_lifespan,
    )
    app.state.console = console
    app.state.error_page = error_page
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    console: Console = app.state.console
    console.wake()
    try:
        yield
    finally:
        console.farewell()
        await run_in_threadpool(console.close)
