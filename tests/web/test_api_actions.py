"""REST: what can be done, by whom it was, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.world import fail
from tests.web.desks import Room, room
from tests.web.problems import is_problem


@pytest.fixture
def here() -> Room:
    return room(allow_actions=True)


def last(here: Room) -> dict[str, Any]:
    entry: dict[str, Any] = here.client.get("/breakers/smtp/history").json()["items"][0]
    return entry


@pytest.mark.parametrize(("word", "mode"), [("open", "forced_open"), ("disable", "disabled"), ("observe", "observing")])
def test_an_override_is_made_and_noted(here: Room, word: str, mode: str) -> None:
    answer = here.client.post(f"/breakers/smtp/{word}", json={"reason": "we move", "expires": 60})
    said = answer.json()
    assert (answer.status_code, said["mode"], said["override_reason"]) == (200, mode, "we move")
    assert said["override_expires_in"] == 60
    assert (last(here)["what"], last(here)["by"]) == (mode, "web")


def test_an_override_without_an_end_stays_until_lifted(here: Room) -> None:
    assert here.client.post("/breakers/smtp/open", json={"expires": None}).json()["override_expires_in"] is None
    assert here.client.post("/breakers/smtp/auto", json={}).json()["mode"] == "auto"
    assert last(here)["what"] == "auto"


@pytest.mark.parametrize("word", ["close", "reset"])
def test_an_open_breaker_is_closed(here: Room, word: str) -> None:
    fail(here.at.registry, 3)
    said = here.client.post(f"/breakers/smtp/{word}", json={"reason": "fixed"}).json()
    assert said["state"] == "closed"
    assert "fixed" in said["reason"]


def test_who_logged_in_is_who_did_it() -> None:
    here = room(allow_actions=True, users={"eve": "secret"})
    here.client.auth = ("eve", "secret")
    for word in ("open", "auto", "reset"):
        assert here.client.post(f"/breakers/smtp/{word}", json={}).status_code == 200
        assert last(here)["by"] == "web:eve"


def test_parked_tasks_are_released_and_purged(here: Room) -> None:
    here.at.lots.park("smtp", 5)
    assert here.client.post("/breakers/smtp/release", json={"count": 2}).json() == {
        "name": "smtp",
        "released": 2,
        "parked": 3,
    }
    assert here.client.post("/breakers/smtp/purge", json={"confirm": "smtp"}).json() == {"name": "smtp", "purged": 3}
    assert here.client.post("/breakers/smtp/release", json={}).json()["released"] == 0
    assert (last(here)["event"], last(here)["by"]) == ("purged", "web")


@pytest.mark.parametrize("order", [{}, {"confirm": "crm"}])
def test_nothing_is_purged_without_the_name_said_again(here: Room, order: dict[str, str]) -> None:
    here.at.lots.park("smtp", 5)
    is_problem(here.client.post("/breakers/smtp/purge", json=order), 422, "repeat the breaker's name")
    assert here.at.lots.size("smtp") == 5


def test_an_unknown_breaker_is_made_only_if_that_is_meant(here: Room) -> None:
    is_problem(here.client.post("/breakers/new/open", json={}), 404)
    assert here.client.post("/breakers/new/open", json={"create": True}).json()["mode"] == "forced_open"


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"reasn": "x"}, "did you mean 'reason'"),
        ({"reason": 1}, "must be a text"),
        ({"reason": "a\nb"}, "on one line"),
        ({"reason": "x" * 501}, "500"),
        ({"expires": 0}, "above 0"),
        ({"expires": True}, "above 0"),
        ({"expires": "1h"}, "number of seconds"),
        ({"expires": 1e300}, "at most"),
        ({"create": 1}, "true or false"),
        ([], "object"),
    ],
)
def test_a_field_that_cannot_be_is_named(here: Room, order: Any, words: str) -> None:
    is_problem(here.client.post("/breakers/smtp/open", json=order), 422, words)
    assert here.client.get("/breakers/smtp").json()["mode"] == "auto"


@pytest.mark.parametrize("body", [b"{", b'{"expires": NaN}', b"\xff", b"[" * 10_000])
def test_what_is_no_json_is_refused(here: Room, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    is_problem(here.client.post("/breakers/smtp/open", content=body, headers=headers), 422)


def test_only_json_is_taken(here: Room) -> None:
    is_problem(here.client.post("/breakers/smtp/open", data={"reason": "x"}), 415, "application/json")
    is_problem(here.client.post("/breakers/smtp/open"), 415)


def test_a_body_without_end_is_cut_off(here: Room) -> None:
    headers = {"Content-Type": "application/json"}
    is_problem(here.client.post("/breakers/smtp/open", content=b" " * 20_000, headers=headers), 413)


def test_without_store_or_broker_nothing_is_claimed_to_be_done(here: Room) -> None:
    here.at.lots.down = True
    is_problem(here.client.post("/breakers/smtp/release", json={}), 502)
    here.at.server.down = True
    is_problem(here.client.post("/breakers/smtp/open", json={}), 503)


def test_options_are_set_and_unset(here: Room) -> None:
    said = here.client.post("/breakers/smtp/set", json={"options": {"max_failures": 10}}).json()
    assert said["tuning"] == {"max_failures": 10}
    policy = here.client.get("/breakers/smtp/policy").json()
    assert (policy["max_failures"], policy["set"]) == (10, {"max_failures": 10})
    assert (last(here)["event"], last(here)["what"], last(here)["by"]) == ("tuned", "max_failures=10", "web")
    assert here.client.post("/breakers/smtp/unset", json={"options": ["max_failures"]}).json()["tuning"] == {}
    assert here.client.get("/breakers/smtp/policy").json()["set"] == {}


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ({}, "options is missing"),
        ({"options": {}}, "must be an object with options"),
        ({"options": {"max_failures": [1]}}, "must be a number, a text"),
        ({"options": {"max_failures": 0}}, "at least 1"),
        ({"options": {"max_failure": 3}}, "did you mean 'max_failures'"),
        ({"options": {"scope": "worker"}}, "cannot be set while the fleet runs"),
    ],
)
def test_options_that_cannot_be_set_are_refused_in_a_sentence(here: Room, order: dict[str, object], says: str) -> None:
    is_problem(here.client.post("/breakers/smtp/set", json=order), 422, says)
    assert here.client.get("/breakers/smtp").json()["tuning"] == {}


def test_what_to_unset_is_a_list_of_options(here: Room) -> None:
    is_problem(here.client.post("/breakers/smtp/unset", json={"options": "max_failures"}), 422, "a list of names")
    is_problem(here.client.post("/breakers/smtp/unset", json={"options": ["colour"]}), 422, "unknown option")
