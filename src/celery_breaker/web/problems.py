"""Errors as RFC 9457 tells them: ``application/problem+json``, one sentence with the cure, never a traceback."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from celery_breaker.errors import (
    BreakerError,
    BrokerError,
    ConfigurationError,
    ConflictError,
    OutOfReachError,
    StoreError,
    UnknownBreakerError,
)

__all__ = ["Problem", "answer", "handlers", "problem_of"]

_RETRY = {"Retry-After": "5"}

_STATUSES: tuple[tuple[type[BreakerError], int, Mapping[str, str]], ...] = (
    (UnknownBreakerError, 404, {}),
    (OutOfReachError, 409, {}),
    (ConflictError, 409, {}),
    (ConfigurationError, 422, {}),
    (StoreError, 503, _RETRY),
    (BrokerError, 502, _RETRY),
)

_SAID = {
    404: "there is nothing at this path; /api/v1/openapi.json lists what the API has",
    405: "this path does not take this method; /api/v1/openapi.json lists those that it takes",
}


class Problem(Exception):
    """Ends a request.

    Attributes:
        status: of HTTP.
        detail: what happened and what to do, in a sentence.
        headers: that the answer carries besides.
    """

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers: dict[str, str] = dict(headers or {})

    @property
    def title(self) -> str:
        """The name of the status."""
        return HTTPStatus(self.status).phrase

    def as_dict(self) -> dict[str, object]:
        """The members of the document."""
        return {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail}


def problem_of(exc: Exception) -> Problem:
    """What an exception is to who asked; nothing of an unforeseen one is told."""
    if isinstance(exc, Problem):
        return exc
    if isinstance(exc, HTTPException):
        return Problem(exc.status_code, _SAID.get(exc.status_code, exc.detail), headers=exc.headers)
    for kind, status, headers in _STATUSES:
        if isinstance(exc, kind):
            return Problem(status, str(exc), headers=headers)
    return Problem(500, "this is a mistake in the dashboard; its log says where")


def answer(request: Request, exc: Exception) -> Response:
    """The answer to a request that failed: a page where ``app.state.error_page`` makes one for people, else JSON.

    ``error_page(request, problem)`` is not asked below ``/api/``.
    """
    problem = problem_of(exc)
    page: Callable[[Request, Problem], Response] | None = getattr(request.app.state, "error_page", None)
    if page and "/api/" not in request.scope["path"] and "text/html" in request.headers.get("accept", ""):
        response = page(request, problem)
        response.status_code = problem.status
    else:
        response = JSONResponse(problem.as_dict(), problem.status, media_type="application/problem+json")
    response.headers.update(problem.headers)
    return response


handlers: dict[type[Exception], Callable[[Request, Exception], Response]] = {
    Problem: answer,
    HTTPException: answer,
    BreakerError: answer,
}
"""For `Starlette`'s ``exception_handlers``."""
