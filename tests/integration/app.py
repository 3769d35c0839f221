"""The Celery app that every worker of these tests runs: `celery -A tests.integration.app:app …`.

A worker reads its settings from the environment; a test makes itself an app of the same settings with `create_app`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import worker_ready

CONF_VARIABLE = "CELERY_BREAKER_TESTS_CONF"
READY_VARIABLE = "CELERY_BREAKER_TESTS_READY"

DEFAULTS: dict[str, Any] = {
    "imports": ["tests.integration.tasks"],
    "broker_connection_retry_on_startup": True,
    "broker_connection_timeout": 3,
    "worker_hijack_root_logger": True,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
}


def create_app(conf: dict[str, Any], *, set_as_current: bool = True) -> Celery:
    app = Celery("tests", set_as_current=set_as_current)
    app.conf.update({**DEFAULTS, **conf})
    app.loader.import_default_modules()
    return app


app = create_app(json.loads(os.environ[CONF_VARIABLE])) if CONF_VARIABLE in os.environ else None


@worker_ready.connect(weak=False)
def _say_ready(**_: Any) -> None:
    if READY_VARIABLE in os.environ:
        Path(os.environ[READY_VARIABLE]).touch()
