"""REST: what can be done to a breaker. Each leaves who did it in the journal, and answers with what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from celery_breaker.core.names import check_name
from celery_breaker.core.record import Mode, Value
from celery_breaker.status import Desk, actions
from celery_breaker.web import orders
from celery_breaker.web.answers import query_of
from celery_breaker.web.console import console_of
from celery_breaker.web.problems import Problem
from celery_breaker.web.security import who

__all__ = ["VERBS", "Verb", "act", "purge", "release", "routes", "tune", "untune"]


@dataclass(frozen=True, slots=True)
class Verb:
    """What can be ordered: a field's check by its name, and the action that the fields make."""

    fields: Mapping[str, orders.Field]
    action: Callable[..., actions.Action]


_SAID: dict[str, orders.Field] = {"reason": orders.reason}
_OVERRIDE: dict[str, orders.Field] = {**_SAID, "expires": orders.expires, "create": orders.boolean}


def _force(mode: Mode, *, by: str, reason: str = "", expires: float | None = None) -> actions.Action:
    return actions.force(mode, by=by, reason=reason, expires_in=expires)


VERBS: Mapping[str, Verb] = {
    "open": Verb(_OVERRIDE, partial(_force, Mode.FORCED_OPEN)),
    "disable": Verb(_OVERRIDE, partial(_force, Mode.DISABLED)),
    "observe": Verb(_OVERRIDE, partial(_force, Mode.OBSERVING)),
    "close": Verb(_SAID, actions.close),
    "reset": Verb(_SAID, actions.reset),
    "auto": Verb({}, actions.auto),
}
"""By the last word of the path."""


def routes() -> list[BaseRoute]:
    """The routes."""
    path = "/breakers/{name:breaker}"
    return [
        *(Route(f"{path}/{word}", _endpoint(word, verb), methods=["POST"]) for word, verb in VERBS.items()),
        Route(f"{path}/set", _set, methods=["POST"]),
        Route(f"{path}/unset", _unset, methods=["POST"]),
        Route(f"{path}/release", _release, methods=["POST"]),
        Route(f"{path}/purge", _purge, methods=["POST"]),
    ]


# --- for whoever serves them: in a thread, for the store and the broker may take their time ---------------------------


def act(desk: Desk, name: str, word: str, order: Mapping[str, object], *, by: str) -> dict[str, object]:
    """Do what one of `VERBS` says, with its checked fields; the breaker's status afterwards. Raises `BreakerError`."""
    fields = dict(order)
    desk.require(check_name(name), create=bool(fields.pop("create", False)))
    desk.act(name, VERBS[word].action(by=by, **fields))
    return _status(desk, name)


def tune(desk: Desk, name: str, order: Mapping[str, object], *, by: str) -> dict[str, object]:
    """Set options of the policy; the breaker's status afterwards. Raises `BreakerError`."""
    desk.require(check_name(name))
    desk.tune(name, cast("Mapping[str, Value]", order["options"]), by=by)
    return _status(desk, name)


def untune(desk: Desk, name: str, order: Mapping[str, object], *, by: str) -> dict[str, object]:
    """Go back to the app's own values, in all options that are set if none is named. Raises `BreakerError`."""
    desk.require(check_name(name))
    desk.act(name, actions.untune(cast("Sequence[str]", order.get("options", ())), by=by))
    return _status(desk, name)


def _status(desk: Desk, name: str) -> dict[str, object]:
    [status] = desk.statuses([name])
    return status.as_dict()


def release(desk: Desk, name: str, count: int | None, *, by: str) -> dict[str, object]:
    """Send parked tasks back, all for ``None``; how many went, and how many are left. Raises `BreakerError`."""
    desk.require(check_name(name), private=True)
    released = desk.release(name, count, by=by)
    return {"name": name, "released": released, "parked": desk.yard.size(name)}


def purge(desk: Desk, name: str, *, by: str) -> dict[str, object]:
    """Delete parked tasks; how many. Raises `BreakerError`."""
    desk.require(check_name(name), private=True)
    return {"name": name, "purged": desk.purge(name, by=by)}


# --- endpoints --------------------------------------------------------------------------------------------------------


def _endpoint(word: str, verb: Verb) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        order = await orders.order_of(request, verb.fields)
        return await _done(request, partial(act, word=word, order=order))

    return endpoint


async def _set(request: Request) -> Response:
    order = await orders.order_of(request, {"options": orders.options})
    if "options" not in order:
        raise Problem(422, 'options is missing: say what to set, like {"options": {"max_failures": 10}}')
    return await _done(request, partial(tune, order=order))


async def _unset(request: Request) -> Response:
    order = await orders.order_of(request, {"options": orders.names})
    return await _done(request, partial(untune, order=order))


async def _release(request: Request) -> Response:
    order = await orders.order_of(request, {"count": orders.count})
    count = order.get("count")
    assert count is None or isinstance(count, int)
    return await _done(request, partial(release, count=count))


async def _purge(request: Request) -> Response:
    order = await orders.order_of(request, {"confirm": orders.text})
    if order.get("confirm") != request.path_params["name"]:
        raise Problem(422, "confirm must repeat the breaker's name: what is purged never runs")
    return await _done(request, purge)


async def _done(request: Request, work: Callable[..., dict[str, object]]) -> Response:
    query_of(request)
    console = console_of(request)
    done = await run_in_threadpool(work, console.desk, request.path_params["name"], by=who(request))
    console.sampler.look_soon()
    return JSONResponse(done)
