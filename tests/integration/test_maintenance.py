"""Maintenance by the clock: beat and a real worker, with Celery's own schedule and with one in a Django database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery_breaker.core.journal import Book
from celery_breaker.plugin.app import breakers_of
from tests.support.breakers import breaker_in, conf
from tests.support.django_projects import Project
from tests.support.django_stores import sqlite_entry
from tests.support.processes import Process
from tests.support.waiting import eventually
from tests.support.workers import ROOT, WorkerFactory, environment

Beat = Callable[..., Process]


def test_beats_own_schedule_opens_and_lifts(
    worker_factory: WorkerFactory, beat_factory: Beat, redis_server: Any
) -> None:
    forced = {"reason": "upgrade", "expires": "1h", "by": "beat"}
    schedule = {"window": {"task": "celery_breaker.open", "schedule": 1.0, "args": ["svc"], "kwargs": forced}}
    worker = worker_factory(conf=conf(redis_server, beat_schedule=schedule))
    seen = breaker_in(worker.app, "svc")
    beat = beat_factory(worker.conf)
    eventually(lambda: seen.breaker.mode == "forced_open", "beat should have it forced open", timeout=60)
    override = breakers_of(worker.app).registry.cell("svc").record.override
    assert override is not None
    assert (override.reason, override.by) == ("upgrade", "beat")
    assert override.expires is not None
    assert 3590 <= override.expires - override.since <= 3610
    beat.stop()
    schedule = {"end": {"task": "celery_breaker.auto", "schedule": 1.0, "args": ["svc"]}}
    beat_factory({**worker.conf, "beat_schedule": schedule})
    eventually(lambda: seen.breaker.mode == "auto", "beat should have it lifted", timeout=60)
    registry = breakers_of(worker.app).registry
    eventually(lambda: {"beat", "a task"} <= {entry.by for entry in registry.notes("svc", Book.HISTORY)})


_ENTRY = """
import django; django.setup()
import json
from celery import current_app
import tests.integration.django_app
from django_celery_beat.admin import PeriodicTaskForm
from django_celery_beat.models import IntervalSchedule, PeriodicTask
names = [name for name, _ in PeriodicTaskForm().fields["regtask"].widget.choices]
assert "celery_breaker.open" in names, names
every, _ = IntervalSchedule.objects.get_or_create(every=1, period="seconds")
PeriodicTask.objects.update_or_create(
    name="window",
    defaults=dict(interval=every, task={task!r}, args=json.dumps(["other"]), kwargs=json.dumps({kwargs!r})),
)
"""


def test_a_schedule_in_a_django_database_opens_and_lifts(
    worker_factory: WorkerFactory, beat_factory: Beat, tmp_path: Path, redis_server: Any
) -> None:
    contrib = ("admin", "auth", "contenttypes", "messages", "sessions")
    apps = (*(f"django.contrib.{name}" for name in contrib), "django_celery_beat", "celery_breaker.django")
    project = Project(tmp_path / "project", {"default": sqlite_entry(tmp_path / "db.sqlite3")}, apps)
    project.set(SILENCED_SYSTEM_CHECKS=[f"admin.E{number}" for number in (403, 408, 409, 410)])  # no pages are shown
    project.manage("migrate")
    app = "tests.integration.django_app:app"
    there = {"DJANGO_SETTINGS_MODULE": "project_settings", "PYTHONPATH": f"{ROOT}:{project.folder}"}
    settings = {**conf(redis_server, breakers={"other": {}}), "beat_max_loop_interval": 1}
    worker = worker_factory(conf=settings, app=app, env=there)
    seen = breaker_in(worker.app, "other")

    def schedule(task: str, **kwargs: str) -> None:
        code = _ENTRY.format(task=task, kwargs=kwargs)
        done = environment(worker.conf, there)
        project.python(f"import os, sys; os.environ.update({done!r}); sys.path.insert(0, {str(ROOT)!r})\n{code}")

    schedule("celery_breaker.open", reason="upgrade", expires="1h", by="the calendar")
    beat = beat_factory(worker.conf, "-S", "django_celery_beat.schedulers:DatabaseScheduler", app=app, env=there)
    eventually(lambda: seen.breaker.mode == "forced_open", beat.tail, timeout=90)
    override = breakers_of(worker.app).registry.cell("other").record.override
    assert override is not None
    assert (override.reason, override.by) == ("upgrade", "the calendar")
    schedule("celery_breaker.auto")
    eventually(lambda: seen.breaker.mode == "auto", beat.tail, timeout=90)
