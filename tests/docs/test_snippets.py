"""Pieces of code that pages show, run."""

from __future__ import annotations

from typing import Any

from celery import Celery

from celery_breaker.plugin.app import breakers_of
from tests.docs.pages import DOCS, marked


def test_a_task_of_django_s_can_have_a_breaker_and_wait_for_the_commit() -> None:
    code = marked((DOCS / "howto" / "django.md").read_text(), "run")["both"]
    names: dict[str, Any] = {"__name__": __name__}
    exec(code, names)
    app = Celery("shop", broker="memory://", set_as_current=False)

    @app.task(base=names["GuardedTask"], breaker="smtp", name="shop.send")
    def send() -> None: ...

    assert breakers_of(app).policies.guarded["shop.send"] == ("smtp",)
    assert callable(send.delay_on_commit)
