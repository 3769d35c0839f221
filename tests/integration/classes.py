"""The tests' app with tasks of other base classes."""

from __future__ import annotations

import json
import os

from celery import Celery, Task, current_app

from celery_breaker import BreakerTask
from tests.integration.app import CONF_VARIABLE, DEFAULTS
from tests.integration.guarded import call_service


class Base(Task):
    """A base class of the user's own."""

    def before_start(self, task_id: str, args: object, kwargs: object) -> None:
        self.seen = task_id


class Mixed(BreakerTask, Base):
    abstract = True


app = None
if CONF_VARIABLE in os.environ:
    app = Celery("tests", task_cls=BreakerTask)
    app.conf.update({**DEFAULTS, **json.loads(os.environ[CONF_VARIABLE]), "imports": []})

    @app.task(name="classes.mixed", base=Mixed, bind=True, breaker="other")
    def mixed(self: Mixed, folder: str, number: int) -> int:
        assert self.seen == self.request.id
        call_service(folder, number)
        return number

    @app.task(name="classes.by_task_cls", breaker="other")
    def by_task_cls(folder: str, number: int) -> int:
        call_service(folder, number)
        return number

    @app.task(name="classes.unguarded")
    def unguarded() -> list[str]:
        task = current_app.tasks["classes.unguarded"]
        return [str(task.Request), str(task.Strategy)]
