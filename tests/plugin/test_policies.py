"""Which tasks are guarded, and by what policy: the settings and the tasks put together."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from celery import Celery

from celery_breaker import BreakerTask, ConfigurationError
from celery_breaker.plugin.declared.policies import collect


@pytest.fixture
def app(make_app: Callable[[Mapping[str, Any]], Celery]) -> Celery:
    app = make_app({"broker_url": "memory://", "imports": []})

    @app.task(name="mail.send", shared=False)
    def send() -> None: ...

    @app.task(
        name="hook.notify", base=BreakerTask, breaker="hook:{host}", breaker_options={"max_failures": 2}, shared=False
    )
    def notify(host: str) -> None: ...

    return app


def test_a_wildcard_attaches_the_apps_tasks_but_not_celerys_own(app: Celery) -> None:
    guarded = collect(app, {"all": {"tasks": ["*"]}}).guarded
    assert guarded["mail.send"] == ("all",)
    assert not [name for name in guarded if name.startswith(("celery.", "celery_breaker."))]


def test_celerys_own_task_is_attached_by_its_full_name(app: Celery) -> None:
    assert "celery.backend_cleanup" in collect(app, {"db": {"tasks": ["celery.backend_cleanup"]}}).guarded


def test_the_settings_go_over_the_code_option_by_option(app: Celery) -> None:
    policies = collect(app, {"hook:{host}": {"recovery_timeout": 7}})
    policy = policies.of("hook:a.example")
    assert (policy.max_failures, policy.recovery_timeout) == (2, 7)


def test_one_name_of_a_template_can_have_a_policy_of_its_own(app: Celery) -> None:
    policies = collect(app, {"hook:b.example": {"max_failures": 9}})
    assert policies.of("hook:b.example").max_failures == 9
    assert policies.of("hook:a.example").max_failures == 2


def test_exceptions_by_their_dotted_name_are_what_they_name(app: Celery) -> None:
    policy = collect(app, {"db": {"failures": ["socket.timeout", "OSError"], "ignore": "no.such.Error"}}).of("db")
    assert policy.failures == (socket.timeout, "OSError")
    assert policy.ignore == ("no.such.Error",)


def test_options_without_a_breaker_are_refused(app: Celery) -> None:
    app.tasks["mail.send"].breaker_options = {"max_failures": 1}
    with pytest.raises(ConfigurationError, match="names no breaker"):
        collect(app, {})


def test_a_pattern_that_matches_no_task_is_said(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"):
        collect(app, {"smtp": {"tasks": ["mial.*"]}})
    assert "'mial.*' matches no task" in caplog.text


def test_the_queue_of_a_task_is_that_of_its_route_of_its_own_or_the_default(app: Celery) -> None:
    @app.task(name="pay.charge", queue="money", shared=False)
    def charge() -> None: ...

    app.conf.task_routes = {"mail.*": {"queue": "mails"}}
    queue_of = collect(app, {}).queue_of
    assert [queue_of(name) for name in ("mail.send", "pay.charge", "hook.notify")] == ["mails", "money", "celery"]


def test_a_router_that_needs_a_call_hurts_nobody(app: Celery) -> None:
    def by_customer(name: str, args: list[object], *_: object, **__: object) -> str:
        return f"customer-{args[0]}"

    app.conf.task_routes = (by_customer,)
    assert collect(app, {}).queue_of("mail.send") == ""
