"""What every page has around it: the frame, and what is said once after an action."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from celery_breaker.status.words import plain
from celery_breaker.web.console import console_of
from celery_breaker.web.problems import Problem
from celery_breaker.web.templating import render

__all__ = ["error_page", "redirected", "sheet"]

_SAID = "celery_breaker_said"
"""The cookie in which a sentence waits for the next page."""


def sheet(
    request: Request, template: str, values: Mapping[str, object], *, here: str = "", live: str = ""
) -> HTMLResponse:
    """A page.

    Args:
        values: for the template.
        here: its place in the navigation.
        live: the address of its event stream.
    """
    desk = console_of(request).desk
    said = plain(unquote(request.cookies.get(_SAID, "")))[:500]
    frame = {"root": "", "here": here, "live": live, "url": desk.url, "said": said, "now": desk.registry.link.now()}
    response = HTMLResponse(render(template, **{"error": "", **frame, **values}))
    if said:
        response.delete_cookie(_SAID, path=_path(request), httponly=True, samesite="strict")
    return response


def error_page(request: Request, problem: Problem) -> Response:
    """A problem, for people. It may be at any depth, so what it refers to is told from the top.

    Who has not logged in sees it too: it tells nothing of what is behind.
    """
    prefix = console_of(request).options.url_prefix
    return sheet(request, "error.html", {"problem": problem, "root": _top(request) + prefix + "/", "url": ""})


def redirected(request: Request, address: str, said: str) -> Response:
    """To another page of ours, which says this."""
    response = RedirectResponse(address, status_code=303)
    secure = request.url.scheme == "https"
    response.set_cookie(
        _SAID, quote(said[:500]), max_age=60, path=_path(request), httponly=True, samesite="strict", secure=secure
    )
    return response


def _top(request: Request) -> str:
    """Where the app is mounted; empty if nowhere."""
    return str(request.scope.get("app_root_path", request.scope.get("root_path", ""))).rstrip("/")


def _path(request: Request) -> str:
    return _top(request) or "/"
