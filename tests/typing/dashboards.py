"""`create_app` and its options."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from starlette.applications import Starlette
from typing_extensions import assert_type

from celery_breaker.status import Desk, Status
from celery_breaker.web import WebOptions, create_app


def dashboard(desk: Desk) -> Starlette:
    """An ASGI app of Starlette's."""
    app = create_app(desk, options=WebOptions(hosts=("ops.example.org",), users={"eve": "secret"}))
    assert_type(app, Starlette)
    return app


def read(desk: Desk) -> list[Status]:
    """The read model."""
    return desk.statuses()


def mistakes(desk: Desk) -> None:
    """What a type checker must not let pass."""
    create_app()  # type: ignore[call-arg]
    create_app(desk, WebOptions())  # type: ignore[call-arg]
    WebOptions("127.0.0.1")  # type: ignore[call-arg]
    WebOptions(port="5556")  # type: ignore[arg-type]
