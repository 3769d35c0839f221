"""What stands before every route: host, login, rights, origin, and the headers of every answer."""

from __future__ import annotations

import logging
import math

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from celery_breaker.clock import Clock, monotonic
from celery_breaker.web import security
from celery_breaker.web.console import Console
from celery_breaker.web.logins import FailedLogins
from celery_breaker.web.paths import apart
from celery_breaker.web.problems import Problem, answer

__all__ = ["Guard"]

logger = logging.getLogger(__name__)

_SAFE = ("GET", "HEAD", "OPTIONS")


class Guard:
    """ASGI middleware that lets in who may come in, and turns what fails behind it into an answer.

    Args:
        clock: in seconds, for how long a client waits that failed to log in.
    """

    def __init__(self, app: ASGIApp, *, console: Console, clock: Clock = monotonic) -> None:
        self.app = app
        self._console = console
        self._options = console.options
        self._logins = FailedLogins(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] != "http":
            await self.app(scope, receive, send)
        else:
            self._console.wake()
            await self._guarded(_own(apart(scope)), receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False
        home = scope.get("root_path", "") + self._options.url_prefix or "/"

        async def dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _dress(MutableHeaders(scope=message), scope, home=home)
            await send(message)

        try:
            self._admit(scope)
            await self.app(scope, receive, dressed)
        except Problem as exc:
            await answer(Request(scope), exc)(scope, receive, dressed)
        except Exception as exc:
            logger.exception("%s %r failed", scope["method"], scope["path"])
            if started:
                raise
            await answer(Request(scope), exc)(scope, receive, dressed)

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        security.check_host(headers, self._options)
        if self._options.guarded:
            scope[security.WHO] = self._login(headers, (scope.get("client") or ("",))[0])
        if scope["method"] in _SAFE:
            return
        if not self._options.allow_actions:
            raise Problem(403, "this dashboard only shows; start it with --allow-actions to steer breakers")
        security.check_origin(headers)

    def _login(self, headers: Headers, address: str) -> str:
        if wait := self._logins.wait(address):
            retry = {"Retry-After": str(math.ceil(wait))}
            raise Problem(429, f"too many failed logins; try again in {math.ceil(wait)} s", headers=retry)
        if found := security.authenticated(headers, self._options):
            self._logins.succeeded(address)
            return found
        if "authorization" in headers:
            self._logins.failed(address)
        asked = {"WWW-Authenticate": security.challenge(self._options)}
        raise Problem(401, "log in with a user and password, or a token, that this dashboard knows", headers=asked)


def _own(scope: Scope) -> Scope:
    """The scope without the routes of an app in which this one is mounted: `Request.url_for` is to find ours."""
    return {name: value for name, value in scope.items() if name not in ("router", "app_root_path")}


def _dress(headers: MutableHeaders, scope: Scope, *, home: str) -> None:
    for name, value in security.HEADERS.items():
        headers.setdefault(name, value)
    if token := scope.get(security.NEW_CSRF):
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        headers.append("Set-Cookie", f"{security.CSRF_COOKIE}={token}; Path={home}; HttpOnly; SameSite=Strict{secure}")
