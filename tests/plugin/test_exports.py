"""Settings that give figures to the outside world, in an app."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from celery import Celery

from celery_breaker.errors import ConfigurationError
from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.worker.side import WorkerSide

MakeApp = Callable[[Mapping[str, Any]], Celery]
CONF = {"broker_url": "memory://", "breaker_store": "memory://", "breakers": {"svc": {"tasks": ["celery.*"]}}}


def test_opentelemetry_is_on_while_the_app_s_registry_lasts(make_app: MakeApp) -> None:
    breakers = breakers_of(make_app({**CONF, "breaker_opentelemetry": True}))
    registry = breakers.registry
    assert registry.meters
    breakers.forget()
    assert not registry.meters
    assert breakers.registry is not registry
    assert breakers.registry.meters


def test_without_settings_nobody_measures(make_app: MakeApp) -> None:
    assert not breakers_of(make_app(CONF)).registry.meters


def test_a_worker_does_not_start_without_what_its_settings_need(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "celery_breaker.metrics.prometheus", None)
    breakers = breakers_of(make_app({**CONF, "breaker_metrics_port": 9464}))
    with pytest.raises(ConfigurationError, match=r"breaker_metrics_port is set.*celery-breaker\[prometheus\]"):
        WorkerSide(breakers, hostname="w")


def test_the_package_needs_none_of_the_extras() -> None:
    code = (
        "import sys, celery_breaker, celery_breaker.plugin.app, celery_breaker.plugin.worker.side\n"
        "print([name for name in ('prometheus_client', 'opentelemetry') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
