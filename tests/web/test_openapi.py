"""The description of the REST API: sound, complete, and kept by every answer."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from openapi_spec_validator import validate
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.routing import Mount, Route

from tests.engine.world import fail
from tests.web.desks import API, Room, room


def busy() -> Room:
    """A room in which there is something to see."""
    here = room(allow_actions=True, hosts=("*",))
    fail(here.at.registry, 3)
    here.at.lots.park("smtp", 3)
    here.sampler.look()
    return here


HERE = busy()
DOCUMENT: dict[str, Any] = HERE.client.get("/openapi.json").json()
schema = schemathesis.openapi.from_asgi(f"{API}/openapi.json", HERE.app).exclude(path="/events")  # without an end

NOT_SAID = [positive_data_acceptance]
"""A name and a reason must be printable, and a purge repeat the name: a schema has no words for that."""


def test_the_document_is_sound_openapi() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")


def test_every_route_is_in_the_document_and_nothing_else() -> None:
    [mount] = [route for route in HERE.app.routes if isinstance(route, Mount) and route.path == API]
    routes = {
        (route.path.replace(":breaker", ""), method.lower())
        for route in mount.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    documented = {
        (path, method) for path, item in DOCUMENT["paths"].items() for method in item if method in ("get", "post")
    }
    assert routes == documented


@pytest.mark.timeout(60)
@schema.parametrize()
@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
    derandomize=True,
)
def test_whatever_is_asked_the_answer_is_as_described_and_never_a_mistake_of_ours(case: schemathesis.Case) -> None:
    case.call_and_validate(excluded_checks=NOT_SAID)
    if "name" in case.path_parameters:
        case.path_parameters["name"] = "smtp"
        case.call_and_validate(excluded_checks=NOT_SAID)


@pytest.mark.parametrize("path", [path for path in DOCUMENT["paths"] if path.startswith("/breakers/{name}")])
def test_answers_about_a_real_breaker_are_as_described(path: str) -> None:
    here = busy()
    operations = schemathesis.openapi.from_asgi(f"{API}/openapi.json", here.app)
    method = next(method for method in DOCUMENT["paths"][path] if method in ("get", "post"))
    orders: dict[str, dict[str, object]] = {"purge": {"confirm": "smtp"}, "set": {"options": {"max_failures": 10}}}
    order = orders.get(path.rsplit("/", 1)[-1], {})
    case = operations[path][method].Case(
        path_parameters={"name": "smtp"}, body=order, media_type="application/json", headers={}
    )
    if method == "get":
        case = operations[path][method].Case(path_parameters={"name": "smtp"}, headers={})
    answer = case.call_and_validate()
    assert answer.status_code == 200, answer.text
