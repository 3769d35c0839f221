"""Answers of the REST API: JSON with a tag, so that who asks again is told that nothing changed; and pages of lists."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from celery_breaker.errors import suggestion
from celery_breaker.web.problems import Problem

__all__ = ["Page", "json_answer", "page_asked", "query_of"]

_T = TypeVar("_T")

_LAST_PAGE = 1_000_000


def json_answer(request: Request, value: object, *, tag: object = None) -> Response:
    """A document with an ``ETag``, or 304 if the client has it.

    Args:
        tag: what the tag is made from, if not the whole value; such a tag is weak.
    """
    body = json.dumps(value, separators=(",", ":")).encode()
    marked = body if tag is None else json.dumps(tag, separators=(",", ":"), sort_keys=True).encode()
    etag = f'{"" if tag is None else "W/"}"{hashlib.sha256(marked).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    asked = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
    if request.method in ("GET", "HEAD") and (etag.removeprefix("W/") in asked or asked == ["*"]):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for. Pages count from 1."""

    number: int
    limit: int

    @property
    def offset(self) -> int:
        """Items before it."""
        return (self.number - 1) * self.limit

    def of(self, items: Sequence[_T]) -> Sequence[_T]:
        """The part of a list that is on it."""
        return items[self.offset : self.offset + self.limit]

    def as_dict(self, items: Iterable[object], *, total: int) -> dict[str, object]:
        """The list's document."""
        pages = max(1, math.ceil(total / self.limit))
        return {"items": list(items), "total": total, "page": self.number, "pages": pages, "limit": self.limit}


def query_of(request: Request, *known: str) -> dict[str, list[str]]:
    """The query's parameters. Raises `Problem` for one that is not known."""
    found: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise Problem(422, f"unknown parameter {name!r}{suggestion(name, known)}" if known else _none(name))
        found.setdefault(name, []).append(value)
    return found


def _none(name: str) -> str:
    return f"unknown parameter {name!r}; there are none here"


def page_asked(query: dict[str, list[str]], *, default: int = 100, most: int = 1000) -> Page:
    """The page that a query asks for, by ``page`` and ``limit``. Raises `Problem`."""
    return Page(_number(query, "page", default=1, most=_LAST_PAGE), _number(query, "limit", default=default, most=most))


def _number(query: dict[str, list[str]], name: str, *, default: int, most: int) -> int:
    text = query.get(name, [str(default)])[-1]
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= number <= most:
        raise Problem(422, f"{name} must be a whole number from 1 to {most}, not {text[:40]!r}")
    return number
