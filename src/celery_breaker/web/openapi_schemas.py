"""The values of the REST API, as JSON Schema. Kept by hand; a test holds every answer against them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from celery_breaker.core.journal import Event
from celery_breaker.core.names import MAX_NAME
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, State
from celery_breaker.web.orders import LONGEST, LONGEST_REASON

__all__ = ["SCHEMAS", "Schema", "array", "integer", "nullable", "obj", "ref", "string"]

Schema = Mapping[str, object]


def string(description: str = "", **more: object) -> Schema:
    """A text."""
    return _described({"type": "string", **more}, description)


def integer(description: str = "", *, minimum: int = 0, **more: object) -> Schema:
    """A whole number."""
    return _described({"type": "integer", "minimum": minimum, **more}, description)


def _number(description: str = "") -> Schema:
    return _described({"type": "number"}, description)


def _boolean(description: str = "") -> Schema:
    return _described({"type": "boolean"}, description)


def nullable(schema: Schema) -> Schema:
    """This, or null."""
    return {**schema, "type": [schema["type"], "null"]}


def array(items: Schema, description: str = "") -> Schema:
    """A list."""
    return _described({"type": "array", "items": items}, description)


def obj(properties: Mapping[str, Schema], *, optional: bool = False, description: str = "") -> Schema:
    """An object with these members and no others; all of them are there unless ``optional``."""
    found: dict[str, object] = {"type": "object", "properties": properties, "additionalProperties": False}
    return _described(found if optional else {**found, "required": list(properties)}, description)


def ref(name: str) -> Schema:
    """One of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _described(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description} if description else schema


def _page(items: Schema, **more: Schema) -> Schema:
    return obj(
        {
            "items": array(items),
            "total": integer("Of all pages."),
            "page": integer("From 1 on.", minimum=1),
            "pages": integer(minimum=1),
            "limit": integer("Of items on a page.", minimum=1),
            **more,
        }
    )


_AT = _number("Seconds since 1970, by the store's clock.")

_TUNING: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["number", "string", "boolean", "null"]},
    "description": "Options that an operator sets over the app's policy, by name.",
}

_STATUS = obj(
    {
        "name": string(maxLength=MAX_NAME),
        "state": string("What the breaker makes of the service.", enum=[str(state) for state in State]),
        "mode": string("What an operator makes of the breaker.", enum=[str(mode) for mode in Mode]),
        "generation": integer("Grows by one with each transition."),
        "since": nullable(_number("Seconds that the state has lasted; null if it was never left.")),
        "retry_after": nullable(_number("Seconds until a call may be admitted; null if forced open without an end.")),
        "time_since_fault": nullable(_number("Seconds since the failure that last opened it.")),
        "trips": integer("Open intervals in a row without recovery."),
        "reason": string("Of the last transition."),
        "override_reason": string(),
        "override_by": string(),
        "override_expires_in": nullable(_number("Seconds; null is never, or no override.")),
        "calls": integer("In the present window, of all workers."),
        "failures": integer(),
        "slow": integer(),
        "workers": {
            "type": "object",
            "additionalProperties": {"type": "integer"},
            "description": "Failures in the present window by worker.",
        },
        "parked": nullable(integer("Parked tasks; null if the broker could not be asked.")),
        "draining": _boolean("Parked tasks are on their way back."),
        "release_rate": _number("Releases per second at present."),
        "oldest_parked": nullable(_number("Seconds that the task has waited which was parked first.")),
        "overdue": _number(
            "Seconds for which a probe has been due; 0 if none is. More than a few rounds: nobody tends."
        ),
        "tuning": _TUNING,
        "time_to_drain": nullable(_number("Seconds until the backlog is gone at the present rate.")),
    }
)

_ENTRY = obj(
    {
        "at": _AT,
        "event": string(enum=[str(event) for event in Event]),
        "what": string("The state, mode or options that it came to, or the exception."),
        "before": string("The state, mode or options before."),
        "generation": integer(),
        "count": integer("Of tasks, or of open intervals in a row."),
        "reason": string(),
        "by": string("The operator, or the worker."),
        "task": string("Whose call failed."),
        "task_id": string(),
    }
)

_PARKED_TASK = obj(
    {
        "id": string(),
        "task": string(),
        "queue": string("Where it goes back to."),
        "since": _AT,
        "deferrals": integer("How often it was set aside so far."),
        "args": nullable(string("As the sender represented them; null without --show-args.")),
        "kwargs": nullable(string()),
        "waited": nullable(_number("Seconds.")),
    }
)

_POINT = obj({"at": _AT, "calls": integer(), "failures": integer(), "slow": integer(), "parked": integer()})

_WORKER = obj(
    {
        "name": string(),
        "store": string(),
        "connected": _boolean("Whether it reaches the store; else it goes on with breakers of its own."),
        "view_age": nullable(_number("Seconds since it last read the records.")),
        "agent": _boolean("Whether it holds the agent lease."),
        "tended": nullable(_number("Seconds since it last tended.")),
    }
)

_REASON = string("Why; shown wherever the breaker is.", maxLength=LONGEST_REASON)

SCHEMAS: Mapping[str, Schema] = {
    "Status": _STATUS,
    "Breakers": _page(ref("Status"), at=_AT),
    "Journal": obj({"items": array(_ENTRY, "The latest first.")}),
    "Series": obj({"items": array(_POINT, "The oldest first: one for each change, none while nothing changes.")}),
    "Policy": obj(
        {**{field.name: {} for field in dataclasses.fields(Policy)}, "set": _TUNING},
        description="The options in force; classes and callables by dotted name. `set` are those of an operator.",
    ),
    "Tasks": obj({"items": array(string("A task's name."))}),
    "Parked": _page(_PARKED_TASK),
    "Workers": obj(
        {
            "asked": _boolean("Whether workers could be asked; not all brokers can."),
            "items": array(_WORKER),
            "tended": nullable(_number("Seconds since the last round of any agent.")),
            "agent": nullable(string("Who holds the agent lease.")),
            "unattended": nullable(_boolean("Whether nobody tends; null if that cannot be known.")),
        }
    ),
    "Store": obj(
        {
            "url": string("Without passwords."),
            "why": string("Why breakers are kept there."),
            "shared": _boolean("Whether other processes see them."),
            "reached": _boolean("Whether the last look reached it."),
            "error": string("Why it did not."),
            "breakers": integer(),
            "at": _number("When it was last seen, in seconds since 1970 by its own clock."),
        }
    ),
    "Override": obj(
        {
            "reason": _REASON,
            "expires": nullable({**_number("Seconds; null is never."), "exclusiveMinimum": 0, "maximum": LONGEST}),
            "create": _boolean("Also if no setting, task or record names it."),
        },
        optional=True,
    ),
    "Set": obj({"options": {**_TUNING, "minProperties": 1}}),
    "Unset": obj({"options": array(string("Of an option."), "None, or left out, is all that are set.")}, optional=True),
    "Reason": obj({"reason": _REASON}, optional=True),
    "Nothing": obj({}, optional=True),
    "Release": obj(
        {"count": nullable(integer("At most so many, the oldest first; null is all.", minimum=1))}, optional=True
    ),
    "Purge": obj({"confirm": string("The breaker's name.")}),
    "Released": obj({"name": string(), "released": integer(), "parked": integer("Left.")}),
    "Purged": obj({"name": string(), "purged": integer()}),
    "Problem": obj(
        {"type": string(), "title": string(), "status": integer(), "detail": string("What happened, and the cure.")},
        description="RFC 9457.",
    ),
}
"""By name."""
