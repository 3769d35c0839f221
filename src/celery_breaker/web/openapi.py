"""The REST API as OpenAPI 3.1 describes it. Kept by hand; tests hold it against the routes and their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.requests import Request

from celery_breaker.core.names import MAX_NAME
from celery_breaker.core.record import Mode, State
from celery_breaker.web.openapi_schemas import SCHEMAS, Schema, array, integer, ref, string

__all__ = ["document"]

_PROBLEMS = {
    400: "The request cannot be read.",
    401: "Log in.",
    403: "This dashboard only shows, or the request came from another site.",
    404: "No such breaker.",
    409: "Each worker keeps this breaker for itself, or others changed it at the same time.",
    413: "The body is too long.",
    415: "The body is not application/json.",
    421: "Not a name of this dashboard.",
    422: "A name, a parameter or a field that cannot be.",
    429: "Too many failed logins; see Retry-After.",
    502: "The broker cannot be reached.",
    503: "The store cannot be reached.",
}
_ALWAYS = (400, 401, 421, 422, 429)
"""What any request may come to."""


def document(request: Request) -> dict[str, object]:
    """The description of the API that answers this request."""
    server = request.url.path.removesuffix("/openapi.json")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "celery-breaker",
            "version": "1",
            "description": "See and steer the circuit breakers of a Celery app. Durations are in seconds.",
        },
        "servers": [{"url": server}],
        "security": [{}, {"basic": []}, {"bearer": []}],
        "paths": {**_lists(), **_one(), **_actions()},
        "components": {
            "schemas": dict(SCHEMAS),
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


# --- parts ------------------------------------------------------------------------------------------------------------


def _get(
    name: str, summary: str, schema: str, *, parameters: Sequence[Schema] = (), problems: Sequence[int] = ()
) -> dict[str, object]:
    responses: dict[str, object] = {
        "200": _json("What was asked for.", ref(schema)) | {"headers": {"ETag": {"schema": string()}}},
        "304": {"description": "It is what you have."},
        **_problems(*_ALWAYS, *problems),
    }
    known = {"name": "If-None-Match", "in": "header", "schema": string(), "description": "An ETag that you have."}
    return {
        "get": {
            "operationId": name,
            "summary": summary,
            "parameters": [*parameters, known],
            "responses": responses,
        }
    }


def _json(description: str, schema: Schema) -> dict[str, object]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _problems(*statuses: int) -> dict[str, object]:
    content = {"application/problem+json": {"schema": ref("Problem")}}
    return {str(status): {"description": _PROBLEMS[status], "content": content} for status in sorted(set(statuses))}


def _query(name: str, schema: Schema, description: str) -> dict[str, object]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _words(name: str, known: type[State | Mode]) -> dict[str, object]:
    some = array(string(enum=[str(word) for word in known]))
    return {**_query(name, some, "One or more of these, with commas between."), "style": "form", "explode": False}


def _paging(default: int, most: int) -> list[dict[str, object]]:
    return [
        _query("page", integer(minimum=1, maximum=1_000_000, default=1), "From 1 on."),
        _query("limit", integer(minimum=1, maximum=most, default=default), "Items on a page."),
    ]


_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": string(minLength=1, maxLength=MAX_NAME),
    "description": "The breaker's name, percent-encoded, slashes too.",
}


# --- paths ------------------------------------------------------------------------------------------------------------


def _lists() -> dict[str, object]:
    part = _query("name", string(), "Part of a name, in whatever case.")
    asked = [part, _words("state", State), _words("mode", Mode), *_paging(100, 1000)]
    events: dict[str, object] = {
        "operationId": "events",
        "summary": "What happens, as server-sent events: `hello` once, then `look` whenever something changed.",
        "responses": {
            "200": {"description": "Goes on until you leave.", "content": {"text/event-stream": {"schema": string()}}},
            **_problems(*_ALWAYS),
        },
    }
    return {
        "/openapi.json": {
            "get": {
                "operationId": "document",
                "summary": "This document.",
                "responses": {"200": _json("OpenAPI 3.1.", {"type": "object"}), **_problems(*_ALWAYS)},
            }
        },
        "/breakers": _get(
            "breakers", "All breakers, those first that need you.", "Breakers", parameters=asked, problems=[503]
        ),
        "/workers": _get("workers", "The workers, and who tends.", "Workers"),
        "/store": _get("store", "The store, and whether it answers.", "Store"),
        "/events": {"get": events},
    }


def _one() -> dict[str, object]:
    shared = [404, 409, 503]
    paging = _paging(50, 200)
    operations = {
        "": _get("breaker", "One breaker, read from the store now.", "Status", problems=shared),
        "/history": _get("history", "What became of it, and who did that.", "Journal", problems=shared),
        "/failures": _get("failures", "Its last failures.", "Journal", problems=shared),
        "/series": _get("series", "How it did in the last hour.", "Series", problems=shared),
        "/policy": _get("policy", "Its policy.", "Policy", problems=[404, 503]),
        "/tasks": _get("tasks", "The tasks that it guards.", "Tasks", problems=[404, 503]),
        "/parked": _get("parked", "Its parked tasks.", "Parked", parameters=paging, problems=[404, 502, 503]),
    }
    return {f"/breakers/{{name}}{path}": {"parameters": [_NAME], **item} for path, item in operations.items()}


_ACTIONS: Mapping[str, tuple[str, str, str]] = {
    "open": ("Force open: no call is made, no probe either.", "Override", "Status"),
    "disable": ("Admit every call, and hold the state still.", "Override", "Status"),
    "observe": ("Admit every call, and go on moving the state.", "Override", "Status"),
    "close": ("Close now; parked tasks start to go back.", "Reason", "Status"),
    "reset": ("Make it as new.", "Reason", "Status"),
    "auto": ("Lift an override: the state decides again.", "Nothing", "Status"),
    "set": ("Set options of its policy; they hold until unset.", "Set", "Status"),
    "unset": ("Go back to the app's own policy.", "Unset", "Status"),
    "release": ("Put parked tasks back into their queues at once.", "Release", "Released"),
    "purge": ("Delete its parked tasks. They never run.", "Purge", "Purged"),
}


def _actions() -> dict[str, object]:
    found: dict[str, object] = {}
    for word, (summary, order, outcome) in _ACTIONS.items():
        failing = (*_ALWAYS, 403, 404, 409, 413, 415, 503, *((502,) if order in ("Release", "Purge") else ()))
        found[f"/breakers/{{name}}/{word}"] = {
            "parameters": [_NAME],
            "post": {
                "operationId": word,
                "summary": summary,
                "requestBody": {"required": True, "content": {"application/json": {"schema": ref(order)}}},
                "responses": {"200": _json("Done; what came of it.", ref(outcome)), **_problems(*failing)},
            },
        }
    return found
