"""URLs as they may be shown: without what lets others in. Pure text, since a URL that is wrong must not leak either."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, unquote, unquote_plus

__all__ = ["redacted", "scheme_of", "secrets_in", "servers_of", "shown", "split_urls"]

_MASK = "**"

_SECRET = re.compile(r"pass|pwd|secret|token|credential|(^|_)key$", re.IGNORECASE)
"""Names of query parameters whose values are nobody's business."""

_NEXT = re.compile(r"[;,](?=[A-Za-z][A-Za-z0-9+.-]*://)")
"""Between two whole URLs; a bare ``;`` may be part of a password."""


def scheme_of(url: str) -> str:
    """What stands before ``://``, in lower case, or nothing.

    Example:
        >>> scheme_of("postgresql+psycopg://db/app")
        'postgresql+psycopg'
    """
    scheme, found, _ = url.partition("://")
    return scheme.lower() if found and re.fullmatch(r"[A-Za-z][A-Za-z0-9+._-]*", scheme) else ""


def split_urls(url: str) -> list[str]:
    """The URLs of a list such as ``sentinel://a:26379;sentinel://b:26379``."""
    return _NEXT.split(url)


def shown(url: str) -> str:
    """A URL fit for logs: no user, no password, no query. What might be either is left out.

    Example:
        >>> shown("redis://user:pa%2Fss@db:6379/1?password=x")
        'redis://db:6379/1'
    """
    return ";".join(_shown(part) for part in split_urls(url))


def _shown(url: str) -> str:
    scheme = scheme_of(url)
    if not scheme:
        return _MASK if url else ""
    prefix, rest = url[: len(scheme) + 3], url[len(scheme) + 3 :]
    start, asked, query = rest.partition("?")
    if start.startswith("/"):  # no server, so no password: the path of a file or a socket
        return prefix + start
    if asked and "@" in query and "@" not in start and ":" in start:  # a query, or a password that was not escaped
        return prefix + _MASK
    return prefix + start.rpartition("@")[2]


def servers_of(url: str) -> frozenset[str]:
    """The servers that a URL or a list of them names, as ``host:port`` in lower case.

    Example:
        >>> sorted(servers_of("sentinel://:pw@A:1;sentinel://b:2/0"))
        ['a:1', 'b:2']
    """
    places = (part.partition("://")[2].partition("/")[0] for part in split_urls(shown(url)))
    return frozenset(server.lower() for place in places for server in re.split("[;,]", place) if server)


def secrets_in(url: str) -> list[str]:
    """Every spelling of what must not be seen of a URL, longest first."""
    found: set[str] = set()
    for part in split_urls(url):
        rest = part.partition("://")[2]
        start, _, query = rest.partition("?")
        if not rest.startswith("/"):
            for text in (start, rest):
                user, at, _ = text.rpartition("@")
                found |= {user, user.partition(":")[2]} if at else set()
        for key, value in parse_qsl(query, keep_blank_values=True):
            if _SECRET.search(key):
                found.add(value)
        for pair in re.split("[&;]", query):
            key, _, value = pair.partition("=")
            if _SECRET.search(key):
                found.add(value)
    spelled = {each(secret) for secret in found for each in (str, unquote, unquote_plus, quote, _quote_all)}
    return sorted(filter(None, spelled), key=len, reverse=True)


def _quote_all(text: str) -> str:
    return quote(unquote(text), safe="")


def redacted(text: str, *urls: str | None) -> str:
    """What somebody else wrote, such as a driver's error, without the credentials of these URLs.

    Example:
        >>> redacted("cannot parse 'redis://:pw@db'", "redis://:pw@db")
        "cannot parse 'redis://db'"
    """
    for url in urls:
        if url:
            text = text.replace(url, shown(url))
            for secret in secrets_in(url):
                text = text.replace(secret, _MASK)
    return text
