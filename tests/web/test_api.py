"""REST: what can be seen of breakers, and how much of it at a time."""

from __future__ import annotations

from typing import Any

import pytest

from celery_breaker.core.policy import Policy
from celery_breaker.status import WorkerSeen
from tests.engine.world import fail
from tests.status.desks import QUICK, Declared
from tests.web.desks import Room, room
from tests.web.problems import is_problem


@pytest.fixture
def here() -> Room:
    return room()


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["name"] for item in answer.json()["items"]]


# --- lists ------------------------------------------------------------------------------------------------------------


def test_breakers_that_need_somebody_come_first(here: Room) -> None:
    fail(here.at.registry, 3)
    here.sampler.look()
    assert names(here.client.get("/breakers")) == ["smtp", "crm"]


def test_a_breaker_has_the_keys_of_its_status(here: Room) -> None:
    [item, _] = here.client.get("/breakers").json()["items"]
    assert item == here.sampler.seen.statuses["crm"].as_dict()


def test_breakers_are_chosen_by_name_state_and_mode(here: Room) -> None:
    fail(here.at.registry, 3)
    here.sampler.look()
    assert names(here.client.get("/breakers", params={"name": "SM"})) == ["smtp"]
    assert names(here.client.get("/breakers", params={"state": "open,half_open"})) == ["smtp"]
    assert names(here.client.get("/breakers", params={"mode": "forced_open"})) == []


def test_a_list_comes_in_pages(here: Room) -> None:
    first = here.client.get("/breakers", params={"limit": 1}).json()
    second = here.client.get("/breakers", params={"limit": 1, "page": 2}).json()
    assert [first["items"][0]["name"], second["items"][0]["name"]] == ["crm", "smtp"]
    assert (first["total"], first["pages"], second["page"]) == (2, 2, 2)
    assert here.client.get("/breakers", params={"page": 9}).json()["items"] == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"limt": "3"}, "did you mean 'limit'"),
        ({"limit": "0"}, "from 1 to 1000"),
        ({"limit": "1001"}, "from 1 to 1000"),
        ({"page": "two"}, "whole number"),
        ({"page": "²"}, "whole number"),
        ({"state": "opne"}, "did you mean 'open'"),
        ({"mode": ""}, "unknown"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(here: Room, query: dict[str, str], words: str) -> None:
    is_problem(here.client.get("/breakers", params=query), 422, words)


def test_workers_say_who_tends(here: Room) -> None:
    assert here.client.get("/workers").json() == {
        "asked": False,
        "items": [],
        "tended": None,
        "agent": None,
        "unattended": None,
    }
    seen = {"store": "redis://x", "connected": True, "view_age": 0.2}
    here.at.crew.seen = [
        WorkerSeen(name="a", agent=False, tended=40.0, **seen),  # type: ignore[arg-type]
        WorkerSeen(name="b", agent=True, tended=2.0, **seen),  # type: ignore[arg-type]
    ]
    here.sampler._ask()
    here.sampler.look()
    said = here.client.get("/workers").json()
    assert (said["asked"], said["agent"], said["tended"], said["unattended"]) == (True, "b", 2.0, False)
    assert [item["name"] for item in said["items"]] == ["a", "b"]


@pytest.mark.parametrize("tended", [None, 100.0])
def test_nobody_tends_where_no_worker_did_for_long(here: Room, tended: float | None) -> None:
    here.at.crew.seen = [WorkerSeen(name="a", store="s", connected=True, view_age=0.1, agent=False, tended=tended)]
    here.sampler._ask()
    here.sampler.look()
    assert here.client.get("/workers").json()["unattended"] is True


def test_nobody_tends_where_there_is_no_worker(here: Room) -> None:
    here.at.crew.seen = []
    here.sampler._ask()
    here.sampler.look()
    assert here.client.get("/workers").json()["unattended"] is True


def test_the_store_says_where_and_why(here: Room) -> None:
    said = here.client.get("/store").json()
    assert (said["url"], said["why"], said["reached"], said["breakers"]) == (
        "memory://server",
        "as the test says",
        True,
        2,
    )


# --- one --------------------------------------------------------------------------------------------------------------


def test_one_breaker_is_read_from_the_store_now(here: Room) -> None:
    fail(here.at.registry, 3)  # and no look since
    assert here.client.get("/breakers/smtp").json()["state"] == "open"


def test_what_a_breaker_went_through_is_told_the_latest_first(here: Room) -> None:
    fail(here.at.registry, 3)
    [entry] = here.client.get("/breakers/smtp/history").json()["items"]
    assert (entry["event"], entry["what"], entry["before"]) == ("transition", "open", "closed")
    failures = here.client.get("/breakers/smtp/failures").json()["items"]
    assert [entry["what"] for entry in failures] == ["ConnectionError()"] * 3


def test_the_series_is_what_the_sampler_saw(here: Room) -> None:
    fail(here.at.registry, 2)
    here.at.clock.advance(10)
    here.sampler.look()
    points = here.client.get("/breakers/smtp/series").json()["items"]
    assert [(point["at"], point["failures"]) for point in points] == [(1_000_000.0, 0), (1_000_010.0, 2)]


def test_a_policy_names_classes_and_callables() -> None:
    declared = Declared(declared={"smtp": Policy(failures=(OSError, "smtplib.SMTPException"), on_open=is_problem)})
    policy = room(declared=declared).client.get("/breakers/smtp/policy").json()
    assert policy["failures"] == ["OSError", "smtplib.SMTPException"]
    assert policy["on_open"].endswith("problems.is_problem")
    assert (policy["max_failures"], policy["probe_timeout"]) == (5, None)


def test_the_tasks_that_a_breaker_guards(here: Room) -> None:
    assert here.client.get("/breakers/smtp/tasks").json() == {"items": ["mail.send"]}


def test_parked_tasks_come_in_pages_the_oldest_first(here: Room) -> None:
    here.at.lots.park("smtp", 5, since=here.at.clock() - 60)
    said = here.client.get("/breakers/smtp/parked", params={"limit": 2, "page": 2}).json()
    assert [item["id"] for item in said["items"]] == ["id-2", "id-3"]
    assert (said["total"], said["pages"], said["items"][0]["waited"]) == (5, 3, 60.0)


@pytest.mark.parametrize(("show_args", "args"), [(False, None), (True, "('0',)")])
def test_arguments_are_shown_only_if_that_is_wanted(show_args: bool, args: str | None) -> None:
    here = room(show_args=show_args)
    here.at.lots.park("smtp", 1)
    [item] = here.client.get("/breakers/smtp/parked").json()["items"]
    assert item["args"] == args


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/b", "a%2Fb"),
        ("a/history", "a%2Fhistory"),
        ("50%", "50%25"),
        ("a%2Fb", "a%252Fb"),
        ("ü ?#", "%C3%BC%20%3F%23"),
    ],
)
def test_a_name_may_have_any_characters(name: str, path: str) -> None:
    here = room(declared=Declared(declared={name: QUICK}))
    for prefix in ("", "/history"):
        answer = here.client.get(f"/breakers/{path}{prefix}")
        assert answer.status_code == 200, answer.text
    assert here.client.get(f"/breakers/{path}").json()["name"] == name


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_an_unknown_breaker_is_named_with_the_nearest(here: Room) -> None:
    is_problem(here.client.get("/breakers/smtpp"), 404, "did you mean 'smtp'")


def test_an_unknown_path_and_method_are_problems_too(here: Room) -> None:
    is_problem(here.client.get("/nothing"), 404)
    is_problem(room(allow_actions=True).client.delete("/breakers"), 405)


def test_a_name_that_no_breaker_can_have_is_refused(here: Room) -> None:
    is_problem(here.client.get("/breakers/a%00"), 422, "control characters")


def test_a_breaker_that_each_worker_keeps_for_itself_is_out_of_reach() -> None:
    here = room(declared=Declared(declared={"own": Policy(scope="worker")}))
    is_problem(here.client.get("/breakers/own"), 409, "each worker keeps its own")
    assert here.client.get("/breakers/own/policy").status_code == 200


def test_without_the_store_the_answer_is_no_lie(here: Room) -> None:
    here.at.server.down = True
    here.sampler.look()
    for path in ("/breakers", "/breakers/smtp", "/breakers/smtp/history"):
        answer = here.client.get(path)
        is_problem(answer, 503, "did not answer" if path != "/breakers" else "")
        assert int(answer.headers["retry-after"]) > 0
    said = here.client.get("/store").json()
    assert (said["reached"], bool(said["error"])) == (False, True)


def test_without_the_broker_parked_tasks_are_a_problem(here: Room) -> None:
    here.at.lots.down = True
    is_problem(here.client.get("/breakers/smtp/parked"), 502, "broker")


def test_a_mistake_of_ours_is_told_without_its_traceback(here: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(here.at.desk), "history", lambda self, name: 1 / 0)
    answer = here.client.get("/breakers/smtp/history")
    is_problem(answer, 500)
    assert "ZeroDivision" not in answer.text


# --- tags -------------------------------------------------------------------------------------------------------------


def test_who_has_it_is_told_that_nothing_changed(here: Room) -> None:
    for path in ("/breakers", "/breakers/smtp", "/breakers/smtp/policy", "/workers", "/store", "/openapi.json"):
        first = here.client.get(path)
        again = here.client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b""), path
        assert again.headers["etag"] == first.headers["etag"]


def test_time_that_passes_is_no_change_and_a_change_is(here: Room) -> None:
    fail(here.at.registry, 3)
    tag = {"If-None-Match": here.client.get("/breakers/smtp").headers["etag"]}
    here.at.clock.advance(10)
    assert here.client.get("/breakers/smtp", headers=tag).status_code == 304
    here.at.clock.advance(20)  # a probe is due
    assert here.client.get("/breakers/smtp", headers=tag).status_code == 200
