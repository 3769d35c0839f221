"""The pages: overview, one breaker, its parked tasks, workers. Each is complete as it comes, and kept up to date after.

They refer to each other by relative addresses only, so it does not matter under which prefix they are.
"""

from __future__ import annotations

from functools import partial
from os import PathLike, stat_result

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from celery_breaker.status.sampler import Seen
from celery_breaker.web.board import Query, query_of
from celery_breaker.web.breaker_pages import BreakerPages
from celery_breaker.web.console import Console
from celery_breaker.web.drawing import Drawing
from celery_breaker.web.form_actions import FormActions
from celery_breaker.web.frame import sheet
from celery_breaker.web.live import Channels
from celery_breaker.web.overview import overview
from celery_breaker.web.problems import Problem
from celery_breaker.web.templating import STATIC, address
from celery_breaker.web.wall import Wall
from celery_breaker.web.workers import workers

__all__ = ["routes"]


def routes(console: Console) -> list[BaseRoute]:
    """The routes of the pages, and of what belongs to them."""
    wall = Wall(console)
    one = BreakerPages(console, wall)
    general = _Pages(console, wall, one)
    return [
        Route("/", general.overview),
        Route("/breaker", one.breaker),
        Route("/parked", one.parked),
        Route("/workers", general.workers),
        Route("/act", FormActions(console, wall, one).act, methods=["POST"]),
        Route("/live", general.live),
        Mount("/static", _Assets(directory=STATIC)),
    ]


class _Assets(StaticFiles):
    """Files whose address says what is in them (see `asset`), so that a browser need not ask again."""

    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """See `StaticFiles`."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        if b"v=" in scope["query_string"]:
            response.headers["Cache-Control"] = "private, max-age=31536000, immutable"
        return response


class _Pages:
    def __init__(self, console: Console, wall: Wall, one: BreakerPages) -> None:
        self._console = console
        self._desk = console.desk
        self._wall = wall
        self._one = one
        self._channels = Channels(console)

    async def overview(self, request: Request) -> Response:
        """All breakers."""
        return await run_in_threadpool(self._overview, request, await self._console.seen())

    def _overview(self, request: Request, seen: Seen) -> Response:
        query = query_of(request.query_params)
        drawing = self._board(query, seen)
        now = self._desk.registry.link.now()
        return sheet(
            request,
            "overview.html",
            {
                "title": drawing.title,
                "query": query,
                "part": drawing.html(now),
                "rows": drawing.row_html(now),
                "private": self._private(),
            },
            here="overview",
            live=address("live", q=query.text, state=query.state, page=query.page),
        )

    def _board(self, query: Query, seen: Seen) -> Drawing:
        return overview(self._wall, seen, query, tend_interval=self._desk.tend_interval)

    def _private(self) -> list[str]:
        catalogue = self._desk.catalogue
        return [name for name in catalogue.names() if catalogue.of(name).scope == "worker"]

    async def workers(self, request: Request) -> Response:
        """Who is there."""
        drawing = self._workers(await self._console.seen())
        part = drawing.html(self._desk.registry.link.now())
        return sheet(request, "workers.html", {"part": part}, here="workers", live="live?view=workers")

    def _workers(self, seen: Seen) -> Drawing:
        return workers(seen, tend_interval=self._desk.tend_interval)

    async def live(self, request: Request) -> Response:
        """What is new on a page, as events."""
        seen = await self._console.seen()
        view = request.query_params.get("view", "overview")
        if view == "workers":
            return self._channels.response(view, self._workers)
        if view == "breaker":
            name = request.query_params.get("name", "")
            if name not in seen.statuses:
                raise Problem(404, "no breaker by this name was seen; load the page again")
            return self._channels.response((view, name), partial(self._one.drawing, name))
        query = query_of(request.query_params)
        return self._channels.response(query, partial(self._board, query))
