"""The pages of one breaker: what it does and did, and its parked tasks."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from celery_breaker.core.names import check_name
from celery_breaker.errors import BrokerError
from celery_breaker.status import ParkedTask, Status
from celery_breaker.status.sampler import Seen
from celery_breaker.status.words import plain
from celery_breaker.web import story
from celery_breaker.web.console import Console
from celery_breaker.web.detail import detail, gone
from celery_breaker.web.drawing import Drawing
from celery_breaker.web.frame import sheet
from celery_breaker.web.security import csrf_token
from celery_breaker.web.templating import address
from celery_breaker.web.wall import Wall

__all__ = ["BreakerPages"]

_PAGE = 50
"""Parked tasks on a page."""

_LAST_PAGE = 200_000
"""Beyond it a broker would be asked for places that it has no numbers for."""

_MODES = (
    ("open", "Force open", "refuse all calls"),
    ("disable", "Disable", "admit all calls, never open"),
    ("observe", "Observe", "admit all calls, and tell what it would have done"),
)
_BLANK = {"action": "open", "reason": "", "expires": "", "count": ""}


class BreakerPages:
    """Draws the pages of one breaker. Thread-safe."""

    def __init__(self, console: Console, wall: Wall) -> None:
        self._console = console
        self._desk = console.desk
        self._wall = wall

    # --- what it does -------------------------------------------------------------------------------------------------

    async def breaker(self, request: Request) -> Response:
        """One breaker."""
        await self._console.seen()
        return await run_in_threadpool(self.breaker_sheet, request, request.query_params.get("name", ""))

    def breaker_sheet(
        self, request: Request, name: str, *, form: Mapping[str, str] = _BLANK, error: str = ""
    ) -> Response:
        """Its page; with what was filled in and went wrong. Blocks; raises `BreakerError`."""
        seen = self._console.sampler.seen
        status = self._status(name, seen)
        drawing = self._detail(seen, status)
        return sheet(
            request,
            "breaker.html",
            {
                "title": drawing.title,
                "part": drawing.html(self._desk.registry.link.now()),
                "guarded": [(task, self._desk.catalogue.queue_of(task)) for task in self._desk.tasks_of(name)],
                "options": story.policy_of(self._desk.policy_of(name), status.tuning),
                "modes": _MODES,
                **self._acting(request, name, form, error),
            },
            live=address("live", view="breaker", name=name) if name in seen.statuses else "",
        )

    def _status(self, name: str, seen: Seen) -> Status:
        """What was seen last; else it is looked at now."""
        if name in seen.statuses:
            return seen.statuses[name]
        self._desk.require(check_name(name))
        [status] = self._desk.statuses([name])
        return status

    def _detail(self, seen: Seen, status: Status) -> Drawing:
        return detail(self._wall, seen, status, desk=self._desk, sampler=self._console.sampler)

    def drawing(self, name: str, seen: Seen) -> Drawing:
        """Its page, as it changes while somebody looks."""
        status = seen.statuses.get(name)
        return self._detail(seen, status) if status else gone(plain(name), seen, desk=self._desk)

    # --- what it parked -----------------------------------------------------------------------------------------------

    async def parked(self, request: Request) -> Response:
        """Its parked tasks."""
        return await run_in_threadpool(self.parked_sheet, request, request.query_params.get("name", ""))

    def parked_sheet(
        self, request: Request, name: str, *, form: Mapping[str, str] = _BLANK, error: str = ""
    ) -> Response:
        """Its parked tasks; with what was filled in and went wrong. Blocks; raises `BreakerError`."""
        self._desk.require(check_name(name), private=True)
        text = request.query_params.get("page", "")
        page = min(max(1, int(text)), _LAST_PAGE) if text.isdecimal() and len(text) < 10 else 1
        tasks, trouble = self._peek(name, page)
        more = len(tasks) > _PAGE
        return sheet(
            request,
            "parked.html",
            {
                "private": self._desk.catalogue.of(name).scope == "worker",
                "tasks": [_shown(task) for task in tasks[:_PAGE]],
                "trouble": trouble,
                "page": page,
                "links": {
                    "before": address("parked", name=name, page=page - 1) if page > 1 else "",
                    "after": address("parked", name=name, page=page + 1) if more else "",
                },
                "show_args": self._console.options.show_args,
                **self._acting(request, name, form, error),
            },
        )

    def _peek(self, name: str, page: int) -> tuple[list[ParkedTask], str]:
        """A page and one more, so that it is known whether there is another; or why it cannot be had."""
        try:
            return self._desk.parked(name, offset=(page - 1) * _PAGE, count=_PAGE + 1), ""
        except BrokerError as exc:
            return [], str(exc)

    # --- what can be done ---------------------------------------------------------------------------------------------

    def _acting(self, request: Request, name: str, form: Mapping[str, str], error: str) -> dict[str, object]:
        actions = self._console.options.allow_actions
        return {
            "name": name,
            "actions": actions,
            "token": csrf_token(request) if actions else "",
            "form": {**_BLANK, **form},
            "error": error,
        }


def _shown(task: ParkedTask) -> dict[str, object]:
    texts = {key: plain(getattr(task, key)) for key in ("id", "task", "queue", "args", "kwargs")}
    return {**texts, "since": task.since, "deferrals": task.deferrals}
