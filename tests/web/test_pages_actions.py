"""What the forms do: without any script, with a token, and never halfway."""

from __future__ import annotations

from typing import Any

import pytest
from httpx import Response
from starlette.testclient import TestClient

from celery_breaker.core.journal import Event
from tests.engine.world import fail
from tests.web.desks import Room
from tests.web.reading import EVIL, Page, load, open_room


@pytest.fixture
def opened() -> tuple[Room, TestClient]:
    return open_room(allow_actions=True)


@pytest.fixture
def room(opened: tuple[Room, TestClient]) -> Room:
    return opened[0]


@pytest.fixture
def client(opened: tuple[Room, TestClient]) -> TestClient:
    return opened[1]


def token_on(client: TestClient, address: str = "breaker?name=smtp") -> str:
    return load(client, address).all("input", name="csrf_token")[0].attributes["value"]


def send(client: TestClient, **fields: str) -> Response:
    """Fill in a form on the page of a breaker, and follow where it leads."""
    return client.post("act", data={"csrf_token": token_on(client), "name": "smtp", **fields})


def status_of(room: Room, name: str = "smtp") -> Any:
    return room.sampler.look().statuses[name]


def test_forced_open_with_a_reason_and_for_a_time_and_said_once(room: Room, client: TestClient) -> None:
    answer = send(client, action="open", reason="moving house", expires="15m")
    assert answer.status_code == 200
    assert [step.status_code for step in answer.history] == [303]
    assert "smtp: forced open by web, for another 15 min: moving house" in Page(answer.text).text
    status = status_of(room)
    assert (status.mode, status.override_reason, status.override_expires_in) == ("forced_open", "moving house", 900)
    assert load(client, "breaker?name=smtp").all("div", role="status") == []


@pytest.mark.parametrize(
    ("action", "mode", "state"),
    [
        ("disable", "disabled", "open"),
        ("observe", "observing", "open"),
        ("close", "auto", "closed"),
        ("reset", "auto", "closed"),
        ("auto", "auto", "open"),
    ],
)
def test_every_other_action(room: Room, client: TestClient, action: str, mode: str, state: str) -> None:
    fail(room.at.registry, 3)
    assert send(client, action=action, reason="why not").status_code == 200
    assert (status_of(room).mode, status_of(room).state) == (mode, state)


def test_what_was_done_is_in_the_timeline_of_the_next_page_with_who(client: TestClient) -> None:
    page = Page(send(client, action="disable", reason="for the drill").text)
    assert "disabled: admits everything" in page.one("ol", class_="timeline").text
    assert "for the drill" in page.one("ol", class_="timeline").text
    page = Page(send(client, action="reset").text)
    assert page.one("ol", class_="timeline").text.count("by web") == 2


def test_whoever_logged_in_is_named() -> None:
    room, client = open_room(allow_actions=True, users={"eve": "secret"})
    client.auth = ("eve", "secret")
    send(client, action="open")
    assert room.at.desk.history("smtp")[0].by == "web:eve"


def test_some_parked_tasks_are_released_and_then_all(room: Room, client: TestClient) -> None:
    room.at.lots.park("smtp", 10)
    assert "smtp: 4 tasks released" in Page(send(client, action="release", count="4").text).text
    assert "smtp: 6 tasks released" in Page(send(client, action="release", count="").text).text
    assert "smtp: nothing is parked" in Page(send(client, action="release", count="").text).text
    assert [entry.count for entry in room.at.desk.history("smtp")] == [6, 4]


def test_purging_needs_the_name_typed(room: Room, client: TestClient) -> None:
    room.at.lots.park("smtp", 3)
    refused = send(client, action="purge", confirm="smpt")
    assert refused.status_code == 422
    assert "nothing was deleted; type smtp to confirm" in Page(refused.text).one("div", role="alert").text
    assert room.at.lots.size("smtp") == 3
    assert "smtp: 3 tasks deleted" in Page(send(client, action="purge", confirm="smtp").text).text
    assert room.at.desk.history("smtp")[0].event is Event.PURGED


def test_from_the_page_of_parked_tasks_one_comes_back_there(room: Room, client: TestClient) -> None:
    room.at.lots.park("smtp", 3)
    answer = send(client, action="release", count="1", back="parked")
    assert answer.url.path == "/parked"
    assert "1 task released" in answer.text
    refused = send(client, action="release", count="x", back="parked")
    assert "Parked by" in Page(refused.text).one("h1").text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"action": "open", "expires": "soon"}, "'soon' is not a time above 0; write 90, 90s, 15m, 2h or 1d"),
        ({"action": "open", "expires": "99999999d"}, "must be a number of seconds above 0"),
        ({"action": "release", "count": "-1"}, "'-1' is no number of tasks"),
        ({"action": "release", "count": "٣x"}, "is no number of tasks"),
        ({"action": "explode"}, "nothing was chosen"),
        ({}, "nothing was chosen"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence_and_nothing_changes(
    room: Room, client: TestClient, fields: dict[str, str], said: str
) -> None:
    answer = send(client, **fields)
    assert answer.status_code == 422
    assert said in Page(answer.text).one("div", role="alert").text
    assert room.at.desk.history("smtp") == []


def test_what_was_filled_in_is_still_there_after_a_mistake(client: TestClient) -> None:
    page = Page(send(client, action="observe", reason=f"why {EVIL}", expires="soon").text)
    assert page.all("input", name="reason")[0].attributes["value"] == f"why {EVIL}"
    assert page.one("input", name="expires").attributes["value"] == "soon"
    assert "checked" in page.one("input", type="radio", value="observe").attributes


def test_while_the_store_is_away_it_says_so_and_keeps_the_page(room: Room, client: TestClient) -> None:
    token = token_on(client)
    room.at.server.down = True
    answer = client.post("act", data={"csrf_token": token, "name": "smtp", "action": "open"})
    assert answer.status_code == 503
    assert "did not answer" in Page(answer.text).one("div", role="alert").text


def test_while_the_broker_is_away_nothing_is_released(room: Room, client: TestClient) -> None:
    token = token_on(client)
    room.at.lots.down = True
    answer = client.post("act", data={"csrf_token": token, "name": "smtp", "action": "release"})
    assert answer.status_code == 502
    assert "the broker cannot be reached" in Page(answer.text).one("div", role="alert").text


def test_without_the_token_or_with_another_nothing_is_done(room: Room, client: TestClient) -> None:
    token_on(client)
    for fields in ({}, {"csrf_token": "another"}):
        answer = client.post("act", data={"name": "smtp", "action": "open", **fields})
        assert answer.status_code == 403
        assert "load the page again" in answer.text
    assert status_of(room).mode == "auto"


@pytest.mark.parametrize(("name", "status"), [("smpt", 404), ("", 422), ("a\nb", 422), ("x" * 300, 422)])
def test_a_name_that_nobody_knows_is_a_page_and_no_breaker(client: TestClient, name: str, status: int) -> None:
    answer = send(client, name=name, action="open")
    assert answer.status_code == status
    assert Page(answer.text).one("h1")


def test_what_is_said_after_an_action_is_not_obeyed(client: TestClient) -> None:
    answer = send(client, action="open", reason=EVIL)
    assert "<script>alert" not in answer.text
    assert EVIL in Page(answer.text).one("div", role="status").text


def test_under_a_prefix_one_stays_there() -> None:
    _, client = open_room(allow_actions=True, url_prefix="/ops")
    answer = send(client, action="open")
    assert answer.url.path == "/ops/breaker"
    assert "forced open" in Page(answer.text).one("div", role="status").text
