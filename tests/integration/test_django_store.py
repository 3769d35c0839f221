"""Workers of a Django project: their breakers are where its results are."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.held import QUIET
from tests.support.breakers import QUICK, breaker_in
from tests.support.django_projects import Project
from tests.support.django_stores import sqlite_entry
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import ROOT, WorkerFactory

CODE = """
import django; django.setup()
from celery_breaker.django.models import StoredValue
print(sorted(str(row) for row in StoredValue.objects.filter(kind="record")))
"""


def test_a_trip_in_one_worker_shuts_the_gate_of_another(
    worker_factory: WorkerFactory, service: Service, tmp_path: Path
) -> None:
    apps = ("django_celery_results", "celery_breaker.django")
    project = Project(tmp_path / "project", {"default": sqlite_entry(tmp_path / "db.sqlite3")}, apps)
    project.set(CELERY_RESULT_BACKEND="django-db")
    project.manage("migrate")
    workers = [
        worker_factory(
            broker="filesystem",
            backend=None,
            queues=[f"q{number}"],
            args=QUIET,
            conf={"breakers": {"other": {**QUICK, "recovery_timeout": 60}}, "breaker_store_timeout": 5.0},
            app="tests.integration.django_app:app",
            env={"DJANGO_SETTINGS_MODULE": "project_settings", "PYTHONPATH": f"{ROOT}:{project.folder}"},
            wait=False,
        )
        for number in range(2)
    ]
    for worker in workers:
        worker.wait_ready()
        worker.wait_for_log(r"kept in django-db://default: the results are in Django's database")
    service.go_down()
    for number in range(3):
        workers[0].app.send_task("django_app.call", (service.folder, number), queue="q0")
    workers[1].wait_for_log("breaker 'other' (is open|opened)")
    calls = len(service.calls())
    workers[1].app.send_task("django_app.call", (service.folder, 9), queue="q1")
    seen = breaker_in(workers[1].app, "other")
    eventually(lambda: seen.parked() == 1, "it should be parked", timeout=20)
    assert len(service.calls()) == calls == 3
    eventually(lambda: "record of other" in project.python(CODE))
