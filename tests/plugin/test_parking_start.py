"""A worker that could not park says so before it starts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from celery_breaker import Policy
from celery_breaker.errors import ConfigurationError
from celery_breaker.plugin.parking import start as parking_start

pytest.importorskip("boto3")

Make = Callable[..., None]


@pytest.fixture
def check(make_app: Callable[[Mapping[str, Any]], Celery]) -> Make:
    """`check(listed, …)` looks at a worker on SQS whose settings list these queues."""

    def run(
        *listed: str,
        breaker: str = "smtp",
        broker: str = "sqs://",
        prefix: str = "",
        policy: Mapping[str, Any] | None = None,
        **conf: Any,
    ) -> None:
        options: dict[str, Any] = {"queue_name_prefix": prefix}
        if listed:
            options["predefined_queues"] = {name: {"url": f"https://sqs.example/{name}"} for name in listed}
        app = make_app({"broker_url": broker, "broker_transport_options": options, "imports": [], **conf})
        policies: Any = SimpleNamespace(guarded={"send": [breaker]}, of=lambda name: Policy(**policy or {}))
        parking_start.check(app, policies)

    return run


def test_queues_that_kombu_may_make_need_no_list(check: Make) -> None:
    check()
    check(breaker="hook:{host}", prefix="p" * 37)


def test_missing_queues_are_named_with_the_cure(check: Make) -> None:
    check("celery", "celery_breaker-parked-smtp", "celery_breaker-quarantine")
    with pytest.raises(
        ConfigurationError, match=r"does not list celery_breaker-parked-smtp: make and list them, or .*"
    ):
        check("celery", "celery_breaker-quarantine")
    with pytest.raises(
        ConfigurationError, match=r"does not list x-celery_breaker-parked-smtp\.fifo, x-celery_breaker-q"
    ):
        check("x-celery.fifo", prefix="x-", task_default_queue="celery.fifo")


@pytest.mark.parametrize("on_open", ["retry", "fail"])
def test_who_does_not_park_needs_no_parking_queue(check: Make, on_open: str) -> None:
    check("celery", policy={"on_open": on_open})
    with pytest.raises(ConfigurationError, match="celery_breaker-parked-smtp"):
        check("celery", policy={"on_open": on_open, "defer_failures": True})


def test_breakers_whose_names_come_from_arguments_are_warned_of(check: Make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check("celery", breaker="hook:{host}")
    (record,) = caplog.records
    assert "tasks of hook:{host} stay in their queue while a breaker is open" in record.getMessage()


def test_a_prefix_that_leaves_no_room(check: Make) -> None:
    with pytest.raises(ConfigurationError, match="queue_name_prefix has 38 characters"):
        check(prefix="p" * 38)


def test_other_transports_have_no_such_list(check: Make) -> None:
    check("celery", broker="memory://")
