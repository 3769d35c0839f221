"""Who comes in, and what they may do: passwords and tokens, hosts, origins, and tokens of forms."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request

from celery_breaker.web.options import WebOptions, is_loopback
from celery_breaker.web.problems import Problem

__all__ = [
    "CSRF_COOKIE",
    "CSRF_FIELD",
    "HEADERS",
    "authenticated",
    "body_of",
    "challenge",
    "check_host",
    "check_origin",
    "csrf_token",
    "form_of",
    "who",
]

CSRF_COOKIE = "celery_breaker_csrf"
CSRF_FIELD = "csrf_token"
"""Name of the form's field that has to repeat the cookie."""

WHO = "celery_breaker.who"
NEW_CSRF = "celery_breaker.csrf"
"""Where a request's scope says who asks, and which token a cookie is to be set for."""

_MOST = 16 * 1024
"""Bytes of a body."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every answer that does not set them itself."""


# --- who ------------------------------------------------------------------------------------------------------------


def who(connection: HTTPConnection) -> str:
    """Who asks, for the journal: ``web:user``, or ``web`` where nobody has to say."""
    return str(connection.scope.get(WHO, "web"))


def authenticated(headers: Headers, options: WebOptions) -> str | None:
    """Who these credentials are of; ``None`` if they are nobody's.

    All of them are compared, each in constant time, so how long it takes tells nothing.
    """
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        found = [token for token in options.tokens if _same(token, given.strip())]
        return "web:token" if found else None
    if scheme.lower() != "basic":
        return None
    try:
        name, _, password = base64.b64decode(given.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        name, password = "", ""
    users = [user for user, secret in options.users.items() if _same(user, name) & _same(secret, password)]
    return f"web:{users[0]}" if users else None


def _same(secret: str, given: str) -> bool:
    """Whether they are equal, in a time that depends on neither, nor on their lengths."""
    one, other = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (secret, given))
    return hmac.compare_digest(one, other)


def challenge(options: WebOptions) -> str:
    """The ``WWW-Authenticate`` header."""
    schemes = ['Basic realm="celery-breaker", charset="UTF-8"'] if options.users else []
    schemes += ['Bearer realm="celery-breaker"'] if options.tokens else []
    return ", ".join(schemes)


# --- from where -----------------------------------------------------------------------------------------------------


def check_host(headers: Headers, options: WebOptions) -> None:
    """Refuse a name that a stranger pointed at this machine, and whose pages could else read ours. Raises `Problem`."""
    host = _hostname(headers.get("host", ""))
    if options.hosts:
        welcome = "*" in options.hosts or host in options.hosts
    else:
        welcome = not is_loopback(options.address) or is_loopback(host)
    if not welcome:
        said = (
            f"this dashboard does not answer for host {host[:200]!r}; allow it with --allow-host, or the option hosts"
        )
        raise Problem(421, said)


def _hostname(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def check_origin(headers: Headers) -> None:
    """Refuse what a page of another site sends. Raises `Problem`."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    foreign = site is not None and site not in ("same-origin", "none")
    if origin is not None and _netloc(origin) != headers.get("host", "").lower():
        foreign = True
    if foreign:
        raise Problem(403, "this came from a page of another site; do it from the dashboard itself")


def _netloc(origin: str) -> str:
    """Host and port of an origin; empty if it is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


# --- forms ----------------------------------------------------------------------------------------------------------


def csrf_token(request: Request) -> str:
    """The token to put into a form, in the field `CSRF_FIELD`; the answer sets the cookie that goes with it."""
    token: str = request.cookies.get(CSRF_COOKIE) or request.scope.get(NEW_CSRF) or secrets.token_urlsafe(32)
    if CSRF_COOKIE not in request.cookies:
        request.scope[NEW_CSRF] = token
    return token


async def body_of(request: Request, media_type: str) -> bytes:
    """The body, if it is of this type and not too long. Raises `Problem`."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != media_type:
        raise Problem(415, f"send this as {media_type}")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST:
            raise Problem(413, f"at most {_MOST} bytes can be sent here")
    return body


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form that came from one of our pages. Raises `Problem` if its token is not the cookie's."""
    try:
        text = (await body_of(request, "application/x-www-form-urlencoded")).decode()
        fields = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=50, errors="strict"))
    except ValueError:
        raise Problem(422, "this is no form that can be read") from None
    given, cookie = fields.pop(CSRF_FIELD, ""), request.cookies.get(CSRF_COOKIE, "")
    if not (given and cookie and _same(cookie, given)):
        raise Problem(403, "this form is out of date or came from elsewhere; load the page again and repeat it")
    return fields
