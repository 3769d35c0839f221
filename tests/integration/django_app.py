"""An app that reads its settings from Django's, as most do."""

from __future__ import annotations

import json
import os

from celery import Celery

from celery_breaker import BreakerTask
from tests.integration.app import CONF_VARIABLE, DEFAULTS
from tests.integration.guarded import call_service

app = None
if CONF_VARIABLE in os.environ:
    app = Celery("tests")
    app.config_from_object("django.conf:settings", namespace="CELERY")
    for key, value in {
        **DEFAULTS,
        **json.loads(os.environ[CONF_VARIABLE]),
        "imports": ["tests.integration.app"],
    }.items():
        app.conf[key] = value

    @app.task(name="django_app.call", base=BreakerTask, breaker="other")
    def call(folder: str, number: int) -> int:
        call_service(folder, number)
        return number
