"""Who comes in, and what they may do."""

from __future__ import annotations

import hmac
import logging
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from celery_breaker.clock import ManualClock
from celery_breaker.errors import ConfigurationError
from celery_breaker.web import WebOptions
from celery_breaker.web.logins import FailedLogins
from celery_breaker.web.options import users_of
from celery_breaker.web.security import CSRF_COOKIE, csrf_token, form_of, who
from tests.web.desks import API, Room, client_of, room
from tests.web.problems import is_problem

# --- where it listens -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_another_address_than_loopback_is_refused_without_a_login(address: str) -> None:
    with pytest.raises(ConfigurationError, match="set users for basic auth or a token") as refused:
        WebOptions(address=address)
    assert "\n" not in str(refused.value)
    assert WebOptions(address=address, tokens=("t",)).guarded
    assert WebOptions(address=address, users={"eve": "secret"}).guarded


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_login(address: str) -> None:
    assert not WebOptions(address=address).guarded


@pytest.mark.parametrize("host", ["localhost", "localhost:5556", "127.0.0.1:5556", "[::1]:5556"])
def test_on_loopback_its_own_names_are_answered(host: str) -> None:
    assert room().client.get("/breakers", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:5556", "", "[", "localhost@evil.example"])
def test_on_loopback_a_name_that_a_stranger_pointed_here_is_not(host: str) -> None:
    is_problem(room().client.get("/breakers", headers={"Host": host}), 421, "hosts")


def test_names_of_a_proxy_can_be_allowed() -> None:
    here = room(hosts=("Ops.example",))
    assert here.client.get("/breakers", headers={"Host": "ops.example"}).status_code == 200
    is_problem(here.client.get("/breakers", headers={"Host": "evil.example"}), 421)
    assert room(hosts=("*",)).client.get("/breakers", headers={"Host": "any.example"}).status_code == 200


# --- options ----------------------------------------------------------------------------------------------------------


def test_no_secret_is_shown() -> None:
    shown = repr(WebOptions(users={"eve": "password-of-eve"}, tokens=("the-token",)))
    assert "password-of-eve" not in shown
    assert "the-token" not in shown


@pytest.mark.parametrize("text", ["hunter2", "hunter2:", ":hunter2", "eve:one,hunter2"])
def test_a_login_that_cannot_be_is_not_repeated(text: str) -> None:
    with pytest.raises(ConfigurationError, match="user:password") as refused:
        users_of([text])
    assert "hunter2" not in str(refused.value)


def test_logins_come_one_by_one_or_with_commas() -> None:
    assert users_of(["eve:a:b,adam:c", "noah:d"]) == {"eve": "a:b", "adam": "c", "noah": "d"}


@pytest.mark.parametrize(
    "options",
    [
        {"port": 70000},
        {"port": -1},
        {"tokens": ("",)},
        {"tokens": ("a b",)},
        {"tokens": "the-token"},  # else each of its letters would be one
        {"hosts": "ops.example.org"},
        {"url_prefix": "/a b"},
        {"users": {"": "x"}},
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        WebOptions(**options)


# --- logins -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded() -> Room:
    return room(users={"eve": "sécret", "adam": "other"}, tokens=("the-token",))


def test_nobody_comes_in_without_a_login(guarded: Room) -> None:
    for path in ("/breakers", "/nothing", "/events", "/openapi.json"):
        answer = guarded.client.get(path)
        is_problem(answer, 401)
        assert "Basic" in answer.headers["www-authenticate"]
        assert "Bearer" in answer.headers["www-authenticate"]


@pytest.mark.parametrize("login", [("eve", "sécret"), ("adam", "other")])
def test_a_user_comes_in_by_password(guarded: Room, login: tuple[str, str]) -> None:
    name, password = (text.encode() for text in login)
    assert guarded.client.get("/breakers", auth=(name, password)).status_code == 200


@pytest.mark.parametrize("login", [("eve", "other"), ("eve", ""), ("", "sécret"), ("noah", "other"), ("eve", "sécre")])
def test_a_wrong_password_is_refused(guarded: Room, login: tuple[str, str]) -> None:
    name, password = (text.encode() for text in login)
    is_problem(guarded.client.get("/breakers", auth=(name, password)), 401)


def test_a_token_comes_in(guarded: Room) -> None:
    assert guarded.client.get("/breakers", headers={"Authorization": "Bearer the-token"}).status_code == 200
    is_problem(guarded.client.get("/breakers", headers={"Authorization": "Bearer the-toke"}), 401)


@pytest.mark.parametrize("header", ["", "Basic", "Basic !!!", "Basic /w==", "Bearer", "Digest x", "Bearer \xff"])
def test_a_header_that_cannot_be_is_refused(guarded: Room, header: str) -> None:
    is_problem(guarded.client.get("/breakers", headers={b"Authorization": header.encode("latin-1")}), 401)


def test_secrets_are_compared_in_constant_time_and_all_of_them(guarded: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(len(one) if len(one) == len(other) else -1)
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for login in (("eve", "wrong"), ("nobody", "x" * 1000), ("adam", "other")):
        compared.clear()
        guarded.client.get("/breakers", auth=login)
        assert compared == [32] * 4  # both users' names and passwords, as digests of one length


def test_who_fails_too_often_has_to_wait_and_others_have_not(guarded: Room) -> None:
    for _ in range(5):
        is_problem(guarded.client.get("/breakers", auth=("eve", "guess")), 401)
    answer = guarded.client.get("/breakers", auth=("adam", "other"))
    is_problem(answer, 429, "too many failed logins")
    assert int(answer.headers["retry-after"]) == 60
    elsewhere = client_of(guarded.app, client=("192.0.2.9", 1))
    assert elsewhere.get("/breakers", auth=("adam", "other")).status_code == 200
    guarded.at.clock.advance(60)
    assert guarded.client.get("/breakers", auth=("adam", "other")).status_code == 200


def test_neighbours_of_an_ipv6_network_count_as_one(guarded: Room) -> None:
    for number in range(5):
        client_of(guarded.app, client=(f"2001:db8::{number}", 1)).get("/breakers", auth=("eve", "guess"))
    assert client_of(guarded.app, client=("2001:db8::99", 1)).get("/breakers").status_code == 429
    assert client_of(guarded.app, client=("2001:db8:1::1", 1)).get("/breakers").status_code == 401


def test_a_browser_that_has_not_asked_yet_has_not_failed(guarded: Room) -> None:
    for _ in range(20):
        assert guarded.client.get("/breakers").status_code == 401


def test_a_login_that_succeeds_forgets_the_failures(guarded: Room) -> None:
    for _ in range(3):
        for _ in range(4):
            guarded.client.get("/breakers", auth=("eve", "guess"))
        assert guarded.client.get("/breakers", auth=("adam", "other")).status_code == 200


def test_addresses_without_end_take_no_memory_without_end() -> None:
    logins = FailedLogins(ManualClock())
    for number in range(20_000):
        logins.failed(f"client-{number}")
    assert len(logins._failed) == 10_000
    assert not any(logins.wait(f"client-{number}") for number in (0, 19_999))


# --- rights -----------------------------------------------------------------------------------------------------------


def test_without_leave_nothing_can_be_changed() -> None:
    here = room()
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        is_problem(here.client.request(method, "/breakers/smtp/open", json={}), 403, "--allow-actions")
    assert here.at.desk.history("smtp") == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_what_a_page_of_another_site_sends_is_refused(headers: dict[str, str]) -> None:
    here = room(allow_actions=True)
    is_problem(here.client.post("/breakers/smtp/open", json={}, headers=headers), 403, "another site")
    assert here.at.desk.history("smtp") == []


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": "http://localhost:5556", "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}]
)
def test_what_our_own_pages_and_programs_send_is_taken(headers: dict[str, str]) -> None:
    here = room(allow_actions=True)
    assert here.client.post("/breakers/smtp/open", json={}, headers=headers).status_code == 200


# --- forms ------------------------------------------------------------------------------------------------------------


async def show(request: Request) -> Response:
    return PlainTextResponse(csrf_token(request))


async def submit(request: Request) -> Response:
    return PlainTextResponse(f"{who(request)} {await form_of(request)}")


@pytest.fixture
def forms() -> Room:
    here = room(allow_actions=True, routes=[Route("/form", show), Route("/form", submit, methods=["POST"])])
    here.client = client_of(here.app, base_url="http://localhost:5556")
    return here


def test_a_form_of_ours_is_taken(forms: Room) -> None:
    shown = forms.client.get("/form")
    cookie = shown.headers["set-cookie"]
    assert cookie.startswith(CSRF_COOKIE)
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert forms.client.get("/form").text == shown.text
    answer = forms.client.post("/form", data={"csrf_token": shown.text, "reason": "ü"})
    assert answer.text == "web {'reason': 'ü'}"


@pytest.mark.parametrize("token", [None, "", "guess"])
def test_a_form_without_the_cookies_token_is_refused(forms: Room, token: str | None) -> None:
    forms.client.get("/form")
    is_problem(forms.client.post("/form", data={"csrf_token": token} if token is not None else {"a": "b"}), 403)


def test_a_token_without_its_cookie_is_refused(forms: Room) -> None:
    token = forms.client.get("/form").text
    forms.client.cookies.clear()
    is_problem(forms.client.post("/form", data={"csrf_token": token}), 403)
    is_problem(forms.client.post("/form", data={"csrf_token": ""}, headers={"Cookie": f"{CSRF_COOKIE}="}), 403)


def test_the_cookie_keeps_to_the_paths_of_the_dashboard(forms: Room) -> None:
    outer = Starlette(routes=[Mount("/ops", app=room(url_prefix="/breakers", routes=[Route("/form", show)]).app)])
    mounted = client_of(outer, base_url="http://localhost").get("/ops/breakers/form")
    assert "; Path=/ops/breakers;" in mounted.headers["set-cookie"]
    assert "; Path=/;" in forms.client.get("/form").headers["set-cookie"]


def test_the_cookie_keeps_to_https_where_the_page_came_by_it(forms: Room) -> None:
    secure = client_of(forms.app, base_url="https://localhost:5556")
    assert "Secure" in secure.get("/form").headers["set-cookie"]
    assert "Secure" not in forms.client.get("/form").headers["set-cookie"]


# --- headers ----------------------------------------------------------------------------------------------------------


def test_every_answer_carries_a_strict_policy() -> None:
    here, locked = room(), room(tokens=("t",))
    for answer in (here.client.get("/breakers"), here.client.get("/x"), here.client.post("/x"), locked.client.get("/")):
        assert answer.headers["content-security-policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
            "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        )
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] in ("no-store", "private, no-cache")


def test_a_mistake_carries_it_too_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: Request) -> Response:
        raise RuntimeError("as the test says")

    here = room(routes=[Route("/broken", broken)])
    with caplog.at_level(logging.ERROR):
        answer = client_of(here.app, base_url="http://localhost:5556").get("/broken")
    is_problem(answer, 500)
    assert "content-security-policy" in answer.headers
    assert "as the test says" in caplog.text


def test_a_prefix_is_before_every_path() -> None:
    here = room(url_prefix="breakers/")
    client = client_of(here.app, base_url="http://localhost:5556")
    assert client.get(f"/breakers{API}/store").status_code == 200
    assert client.get(f"{API}/store").status_code == 404
