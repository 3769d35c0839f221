"""REST, below ``/api/v1``: what can be seen. `api_actions` has what can be done."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from celery_breaker.core.names import check_name
from celery_breaker.core.record import Mode, State
from celery_breaker.errors import StoreError, suggestion
from celery_breaker.status import Desk, Status, urgent_first
from celery_breaker.status.sampler import Seen
from celery_breaker.web import api_actions, facts, openapi
from celery_breaker.web.answers import json_answer, page_asked, query_of
from celery_breaker.web.console import Console, console_of
from celery_breaker.web.problems import Problem
from celery_breaker.web.stream import Stream, event

__all__ = ["routes"]

_T = TypeVar("_T")

Endpoint = Callable[[Request], Awaitable[Response]]


def routes(console: Console) -> list[BaseRoute]:
    """The routes."""
    stream = Stream(console, render=_news, greet=_hello)

    async def events(request: Request) -> Response:
        query_of(request)
        return stream.response()

    seeing: dict[str, Endpoint] = {
        "/openapi.json": document,
        "/breakers": breakers,
        "/breakers/{name:breaker}": breaker,
        "/breakers/{name:breaker}/history": history,
        "/breakers/{name:breaker}/failures": failures,
        "/breakers/{name:breaker}/series": series,
        "/breakers/{name:breaker}/policy": policy,
        "/breakers/{name:breaker}/tasks": tasks,
        "/breakers/{name:breaker}/parked": parked,
        "/workers": workers,
        "/store": store,
        "/events": events,
    }
    return [*(Route(path, endpoint, methods=["GET"]) for path, endpoint in seeing.items()), *api_actions.routes()]


# --- all of them ------------------------------------------------------------------------------------------------------


async def document(request: Request) -> Response:
    """This API, as OpenAPI describes it."""
    query_of(request)
    return json_answer(request, openapi.document(request))


async def breakers(request: Request) -> Response:
    """All breakers, or those that were asked for, those first that need somebody."""
    query = query_of(request, "name", "state", "mode", "page", "limit")
    page = page_asked(query)
    states, modes = _words(query, "state", State), _words(query, "mode", Mode)
    seen = await _seen(request)

    def answer() -> Response:
        found = facts.chosen(seen.statuses.values(), name=query.get("name", [""])[-1], states=states, modes=modes)
        shown = page.of(urgent_first(found))
        said = {**page.as_dict((status.as_dict() for status in shown), total=len(found)), "at": seen.at}
        return json_answer(request, said, tag=[len(found), page.number, page.limit, *map(facts.still, shown)])

    return await run_in_threadpool(answer)  # there may be ten thousand


async def workers(request: Request) -> Response:
    """The workers, and who tends."""
    query_of(request)
    seen = await console_of(request).seen()
    return json_answer(request, facts.attendance(seen.workers))


async def store(request: Request) -> Response:
    """The store, and whether it answers."""
    query_of(request)
    console = console_of(request)
    seen = await console.seen()
    desk = console.desk
    answer = {"url": desk.url, "why": desk.why, "shared": desk.shared, "reached": not seen.error, "error": seen.error}
    return json_answer(request, {**answer, "breakers": len(seen.statuses), "at": seen.at}, tag=answer)


async def _seen(request: Request) -> Seen:
    seen = await console_of(request).seen()
    if seen.error:
        raise StoreError(seen.error)
    return seen


def _words(query: dict[str, list[str]], name: str, known: type[State | Mode]) -> list[str]:
    words = tuple(str(word) for word in known)
    given = [word for text in query.get(name, []) for word in text.split(",")]
    for word in given:
        if word not in words:
            raise Problem(422, f"{name} {word[:40]!r} is unknown{suggestion(word[:40], words)}")
    return given


# --- one ------------------------------------------------------------------------------------------------------------


async def breaker(request: Request) -> Response:
    """One breaker, read from the store now."""
    status = await _at_desk(request, _status)
    return json_answer(request, status.as_dict(), tag=facts.still(status))


def _status(desk: Desk, name: str) -> Status:
    [status] = desk.statuses([name])
    return status


async def history(request: Request) -> Response:
    """What became of it, the latest first."""
    found = await _at_desk(request, Desk.history)
    return json_answer(request, {"items": [facts.entry(entry) for entry in found]})


async def failures(request: Request) -> Response:
    """Its last failures, the latest first."""
    found = await _at_desk(request, Desk.failures)
    return json_answer(request, {"items": [facts.entry(entry) for entry in found]})


async def series(request: Request) -> Response:
    """How it did lately, the oldest first."""
    name = await _at_desk(request, lambda desk, name: name)
    points = console_of(request).sampler.series(name)
    return json_answer(request, {"items": [point._asdict() for point in points]})


async def policy(request: Request) -> Response:
    """The policy in force, and what of it an operator has set."""
    return json_answer(request, await _at_desk(request, _policy, private=True))


def _policy(desk: Desk, name: str) -> dict[str, object]:
    private = desk.catalogue.of(name).scope == "worker"
    tuning = {} if private else desk.statuses([name], patience=0)[0].tuning
    return {**facts.policy_of(desk.policy_of(name)), "set": tuning}


async def tasks(request: Request) -> Response:
    """The tasks that it guards."""
    found = await _at_desk(request, Desk.tasks_of, private=True)
    return json_answer(request, {"items": found})


async def parked(request: Request) -> Response:
    """Some of its parked tasks, the oldest first."""
    page = page_asked(query_of(request, "page", "limit"), default=50, most=200)

    def look(desk: Desk, name: str) -> dict[str, object]:
        tasks = desk.parked(name, offset=page.offset, count=page.limit)
        now, show_args = desk.registry.link.now(), console_of(request).options.show_args
        items = [facts.parked_task(task, now=now, show_args=show_args) for task in tasks]
        return page.as_dict(items, total=desk.yard.size(name))

    found = await _at_desk(request, look, private=True, query=("page", "limit"))
    return json_answer(request, found)


async def _at_desk(
    request: Request, look: Callable[[Desk, str], _T], *, private: bool = False, query: tuple[str, ...] = ()
) -> _T:
    """Look at the breaker that the path names, in a thread: the store may take its time."""
    query_of(request, *query)
    desk, name = console_of(request).desk, request.path_params["name"]

    def work() -> _T:
        desk.require(check_name(name), private=private)
        return look(desk, name)

    return await run_in_threadpool(work)


# --- events -----------------------------------------------------------------------------------------------------------


def _hello(seen: Seen) -> str:
    said = {"number": seen.number, "at": seen.at, "error": seen.error, "breakers": len(seen.statuses)}
    return event("hello", json.dumps(said), number=seen.number)


def _news(before: Seen, seen: Seen) -> str:
    """What happened since the last look; nothing if nothing did."""
    found = facts.changed(before, seen)
    gone = sorted(before.statuses.keys() - seen.statuses.keys())
    if not (found or gone or before.error != seen.error):
        return ""
    said = {
        "number": seen.number,
        "at": seen.at,
        "error": seen.error,
        "changed": [status.as_dict() for status in urgent_first(found)],
        "gone": gone,
    }
    return event("look", json.dumps(said), number=seen.number)
