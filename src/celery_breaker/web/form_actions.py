"""What the forms of the pages do: one action on one breaker, and then to a page that says what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from celery_breaker.core.names import check_name
from celery_breaker.errors import BreakerError, ConfigurationError, UnknownBreakerError
from celery_breaker.status import Status, actions
from celery_breaker.status.sampler import Sampler
from celery_breaker.status.words import plain, seconds_of, sentence, tasks
from celery_breaker.web import orders
from celery_breaker.web.api_actions import VERBS
from celery_breaker.web.breaker_pages import BreakerPages
from celery_breaker.web.console import Console
from celery_breaker.web.frame import redirected
from celery_breaker.web.problems import Problem, problem_of
from celery_breaker.web.security import form_of, who
from celery_breaker.web.templating import address
from celery_breaker.web.wall import Wall

__all__ = ["FormActions"]


class FormActions:
    """Does what a form asks for."""

    def __init__(self, console: Console, wall: Wall, pages: BreakerPages) -> None:
        self._console = console
        self._desk = console.desk
        self._wall = wall
        self._pages = pages

    async def act(self, request: Request) -> Response:
        """Do it, and go back to where the form was; what cannot be done is told there."""
        form = await form_of(request)
        name = check_name(form.get("name", ""))
        parked = form.get("back") == "parked"
        try:
            said = await run_in_threadpool(self._do, name, form, by=who(request))
        except UnknownBreakerError:
            raise
        except (BreakerError, Problem) as exc:
            return await self._refused(request, name, form, exc, parked=parked)
        return redirected(
            request, address("parked" if parked else "breaker", name=name), await self._settled(name, said)
        )

    async def _refused(
        self, request: Request, name: str, form: Mapping[str, str], exc: Exception, *, parked: bool
    ) -> Response:
        draw = self._pages.parked_sheet if parked else self._pages.breaker_sheet
        response = await run_in_threadpool(draw, request, name, form=form, error=plain(str(exc)))
        response.status_code = problem_of(exc).status
        return response

    def _do(self, name: str, form: Mapping[str, str], *, by: str) -> str:
        """What was done, in a sentence; empty if the breaker's own sentence says it."""
        action = form.get("action", "")
        if action == "release":
            return self._release(name, form.get("count", ""), by=by)
        if action == "purge":
            return self._purge(name, form.get("confirm", ""), by=by)
        self._desk.require(name)
        self._desk.act(name, _action(action, form, by=by))
        return ""

    def _release(self, name: str, count: str, *, by: str) -> str:
        self._desk.require(name, private=True)
        released = self._desk.release(name, _count(count), by=by)
        return f"{name}: {tasks(released)} released" if released else f"{name}: nothing is parked"

    def _purge(self, name: str, confirm: str, *, by: str) -> str:
        self._desk.require(name, private=True)
        if confirm.strip() != name.strip():
            raise ConfigurationError(f"nothing was deleted; type {name} to confirm that its parked tasks may go")
        purged = self._desk.purge(name, by=by)
        return f"{name}: {tasks(purged)} deleted" if purged else f"{name}: nothing is parked"

    async def _settled(self, name: str, said: str) -> str:
        """Wait until the pages know of it, so that the next one does not show what was before; and say it."""
        self._wall.stale(name)
        try:
            [status] = await run_in_threadpool(self._desk.statuses, [name])
        except BreakerError:  # it was done; that nothing can be seen just now is what the next page says
            return said or f"{name}: done"
        await _caught_up(self._console.sampler, status)
        return said or plain(sentence(status))


def _action(word: str, form: Mapping[str, str], *, by: str) -> actions.Action:
    verb = VERBS.get(word)
    if verb is None:
        raise ConfigurationError("nothing was chosen; pick what to do, and send the form again")
    said = {
        "reason": plain(form.get("reason", "")).strip()[: orders.LONGEST_REASON],
        "expires": _expires(form.get("expires", "").strip()),
    }
    return verb.action(by=by, **{field: value for field, value in said.items() if field in verb.fields})


def _expires(text: str) -> float | None:
    return orders.expires("the time", seconds_of(text)) if text else None


def _count(text: str) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not (text.isdecimal() and len(text) < 10 and int(text)):
        raise ConfigurationError(f"{text!r} is no number of tasks; write one above 0, or nothing for all")
    return int(text)


async def _caught_up(sampler: Sampler, status: Status) -> None:
    """Wait until the sampler has seen this, or something newer; not for ever, for others may act too."""
    looked, loop = asyncio.Event(), asyncio.get_running_loop()
    stop = sampler.listen(lambda seen: loop.call_soon_threadsafe(looked.set))
    try:
        sampler.look_soon()
        await asyncio.wait_for(_until_like(sampler, status, looked), timeout=2 * sampler.interval)
    except asyncio.TimeoutError:
        return
    finally:
        stop()


async def _until_like(sampler: Sampler, status: Status, looked: asyncio.Event) -> None:
    while _key(sampler.seen.statuses.get(status.name)) != _key(status):
        await looked.wait()
        looked.clear()


def _key(status: Status | None) -> object:
    return status and (*status.said, status.parked)
