"""The app as a whole: by itself, mounted in another, and with a sampler of its own or not."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from celery_breaker.web import WebOptions, create_app
from celery_breaker.web.console import console_of
from celery_breaker.web.paths import apart
from tests.engine.world import fail
from tests.status.desks import office
from tests.support.waiting import eventually
from tests.web.desks import API, client_of, room


def test_it_looks_while_its_lifespan_lasts() -> None:
    at = office()
    app = create_app(at.desk)
    with client_of(app):
        eventually(lambda: app.state.console.sampler.seen.number > 0, "it should look")
    assert not app.state.console.sampler._background.running


def test_mounted_without_a_lifespan_it_looks_from_the_first_request_on() -> None:
    at = office()
    fail(at.registry, 3)
    app = create_app(at.desk, options=WebOptions(hosts=("*",)))
    outer = Starlette(routes=[Mount("/ops/breakers", app=app)])
    client = TestClient(outer)  # which runs no lifespan, and the outer app would not pass it on
    try:
        items = client.get(f"/ops/breakers{API}/breakers").json()["items"]
        assert [item["state"] for item in items] == ["open", "closed"]
        assert app.state.console.sampler._background.running
        document = client.get(f"/ops/breakers{API}/openapi.json").json()
        assert document["servers"] == [{"url": f"/ops/breakers{API}"}]
    finally:
        app.state.console.close()


def test_mounted_its_pages_find_the_way_to_each_other() -> None:
    async def page(request: Request) -> Response:
        return PlainTextResponse(str(request.url_for("other", name="a/b")))

    here = room(url_prefix="/x", routes=[Route("/page", page), Route("/b/{name:breaker}", page, name="other")])
    outer = Starlette(routes=[Mount("/ops", app=here.app)])
    client = client_of(outer, base_url="http://localhost")
    assert client.get("/ops/x/page").text == "http://localhost/ops/x/b/a%2Fb"
    assert client.get("/ops/x/b/a%2Fb").status_code == 200


def test_a_sampler_of_the_users_is_left_alone() -> None:
    here = room()
    with client_of(here.app) as client:
        assert client.get("/store").status_code == 200
    assert not here.sampler._background.running


def test_routes_of_others_stand_behind_the_guard_and_find_the_console() -> None:
    async def mine(request: Request) -> Response:
        return PlainTextResponse(str(len(console_of(request).sampler.seen.statuses)))

    here = room(tokens=("t",), routes=[Route("/mine", mine)])
    client = client_of(here.app, base_url="http://localhost")
    assert client.get("/mine").status_code == 401
    assert client.get("/mine", headers={"Authorization": "Bearer t"}).text == "2"


def test_errors_are_pages_where_somebody_makes_pages_and_never_below_the_api() -> None:
    here = room()
    here.app.state.error_page = lambda request, problem: PlainTextResponse(f"page: {problem.detail}")
    client = client_of(here.app, base_url="http://localhost")
    browser = {"Accept": "text/html,*/*"}
    answer = client.get("/nothing", headers=browser)
    assert (answer.status_code, answer.text) == (
        404,
        "page: there is nothing at this path; /api/v1/openapi.json lists what the API has",
    )
    assert client.get("/nothing").headers["content-type"] == "application/problem+json"
    assert client.get(f"{API}/nothing", headers=browser).headers["content-type"] == "application/problem+json"


def test_names_are_told_from_paths_where_the_server_hands_on_no_raw_path() -> None:
    scope = {"type": "http", "path": "/b/50%/history", "raw_path": None}
    assert apart(scope)["path"] == "/b/50%25/history"


def test_web_sockets_are_turned_away() -> None:
    here = room()
    with (
        pytest.raises(WebSocketDisconnect),
        client_of(here.app, base_url="http://localhost").websocket_connect("/events"),
    ):
        raise AssertionError("nobody should be let in")
