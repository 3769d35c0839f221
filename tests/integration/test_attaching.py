"""The ways in which a task comes by its breaker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration import guarded
from tests.support.breakers import QUICK, breaker_in, conf, tripped
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import ROOT, WorkerFactory

LONG = {**QUICK, "recovery_timeout": 60}


@pytest.mark.parametrize(
    "settings",
    [
        {"breakers": {"other": {**LONG, "tasks": ["guarded.pl*"]}}},
        {"breakers": {"other": LONG}, "task_annotations": {"guarded.plain": {"breaker": "other"}}},
    ],
    ids=["by the settings", "by an annotation"],
)
def test_a_plain_task_is_attached(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, settings: dict[str, Any]
) -> None:
    worker = worker_factory(conf=conf(redis_server, **settings))
    seen = breaker_in(worker.app, "other")
    tripped(seen, service, task=guarded.plain)
    guarded.plain.delay(service.folder, 1)
    eventually(lambda: seen.parked() == 1, "it should be parked", timeout=20)


@pytest.mark.parametrize("task", ["classes.mixed", "classes.by_task_cls"])
def test_it_is_a_mixin_and_a_task_cls(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, task: str
) -> None:
    worker = worker_factory(conf=conf(redis_server, breakers={"other": LONG}), app="tests.integration.classes:app")
    seen = breaker_in(worker.app, "other")
    service.go_down()
    for number in range(3):
        worker.app.send_task(task, (service.folder, number))
    eventually(lambda: seen.state == "open", "it should trip", timeout=20)
    worker.app.send_task(task, (service.folder, 9))
    eventually(lambda: seen.parked() == 1, "it should be parked", timeout=20)
    result = worker.app.send_task("classes.unguarded")
    assert result.get(timeout=20) == ["celery.worker.request:Request", "celery.worker.strategy:default"]


def test_django_settings_name_them_celery_breakers(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, tmp_path: Path
) -> None:
    settings = conf(redis_server, breakers={"other": LONG})
    names = {"breakers", "breaker_store", "breaker_store_prefix", "breaker_tend_interval"}
    lines = ["SECRET_KEY = 'test'", *(f"CELERY_{name.upper()} = {settings[name]!r}" for name in names)]
    (tmp_path / "dj_settings.py").write_text("\n".join(lines))
    worker = worker_factory(
        conf={key: value for key, value in settings.items() if key not in names},
        app="tests.integration.django_app:app",
        env={"DJANGO_SETTINGS_MODULE": "dj_settings", "PYTHONPATH": f"{ROOT}:{tmp_path}"},
    )
    worker.wait_for_log(r"kept in redis://.*: breaker_store says so")
    worker.app.conf.update(settings)
    seen = breaker_in(worker.app, "other")
    service.go_down()
    for number in range(3):
        worker.app.send_task("django_app.call", (service.folder, number))
    eventually(lambda: seen.state == "open", "it should trip", timeout=20)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"breakers": {"svc": {"max_failurez": 3}}}, r"'max_failurez'; did you mean 'max_failures'\?"),
        ({"breakers": {"svc": {"failure_rate": 3}}}, r"failure_rate=3 must be between 0 and 1"),
        ({"breakers": {"svc": {"failure_window": 0}}}, r"failure_window=0 must be above 0"),
        ({"breakers": {"svc": {"on_open": "parc"}}}, r"on_open='parc' is unknown; did you mean 'park'\?"),
        ({"breakers": {"svc": {"health_check": "no.such.check"}}}, r"health_check='no.such.check' cannot be imported"),
        ({"breakers": {"a\tb": {}}}, r"has control characters"),
        ({"breakers": {"x" * 201: {}}}, r"has 201 characters; use at most 200"),
        ({"breaker_store": "reddis://localhost"}, r"unknown scheme 'reddis'"),
        ({"breaker_tend_interval": 0}, r"breaker_tend_interval=0 must be"),
        (
            {"task_annotations": {"guarded.once": {"breaker_options": {"max_failures": 2}},
                                  "guarded.call": {"breaker_options": {"max_failures": 4}}}},
            r"give breaker 'svc' different options \(max_failures: \d and \d\)",
        ),
        (
            {"task_annotations": {"guarded.per_host": {"breaker": "host:{nost}"}}},
            r"needs the argument 'nost', which the task does not take",
        ),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:30],
)  # fmt: skip
def test_bad_configuration_stops_the_worker_with_one_sentence(
    worker_factory: WorkerFactory, redis_server: Any, settings: dict[str, Any], sentence: str
) -> None:
    worker = worker_factory(conf=conf(redis_server, **settings), wait=False)
    eventually(lambda: not worker.running, "it should not start", timeout=20)
    assert worker.returncode == 1
    last = worker.logs().strip().splitlines()
    worker.wait_for_log(rf"Error: celery-breaker: .*{sentence}")
    assert "Traceback" not in worker.logs(), last
