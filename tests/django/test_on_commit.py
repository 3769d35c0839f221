"""`BreakerTask` has what Celery's own base class for Django has: tasks that are sent on commit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.django_projects import Project
from tests.support.django_stores import sqlite_entry

SHOP = """
import django

django.setup()

from celery import Celery, shared_task
from celery.contrib.django.task import DjangoTask
from celery.signals import after_task_publish
from django.db import transaction

from celery_breaker import BreakerTask
from celery_breaker.plugin.app import breakers_of

sent = []


@after_task_publish.connect
def note(body=None, **_):
    sent.append(body[0][0])


app = Celery("shop", broker="memory://", task_cls={of_the_app})


@shared_task(base={base}, breaker="smtp")
def send(order): ...


def rolled_back(publish):
    try:
        with transaction.atomic():
            publish()
            raise LookupError
    except LookupError:
        pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project", {"default": sqlite_entry(tmp_path / "db.sqlite3")})


@pytest.mark.parametrize(("of_the_app", "base"), [("None", "BreakerTask"), ("BreakerTask", "None")])
def test_a_guarded_task_can_wait_for_the_commit(project: Project, of_the_app: str, base: str) -> None:
    said = project.python(
        SHOP.format(of_the_app=of_the_app, base=base)
        + """
with transaction.atomic():
    send.delay_on_commit(1)
    send.apply_async_on_commit((2,), countdown=1)
    print(sent)
print(sent)
send.delay_on_commit(3)
print(sent)
rolled_back(lambda: send.delay_on_commit(4))
print(sent, breakers_of(app).policies.guarded[send.name])
"""
    )
    assert said.splitlines() == ["[]", "[1, 2]", "[1, 2, 3]", "[1, 2, 3] ('smtp',)"]


BASES = """
class ShopTask(DjangoTask):
    abstract = True

    def delay_on_commit(self, *args, **kwargs):
        print("the shop's own", args)


class Behind(BreakerTask, ShopTask):
    abstract = True


class Before(ShopTask, BreakerTask):
    abstract = True


def buy(order): ...


for base in (Behind, Before):
    app.task(base=base, breaker="smtp", name=base.__name__)(buy).delay_on_commit(base.__name__)
"""


def test_a_base_class_of_the_user_s_own_goes_first(project: Project) -> None:
    said = project.python(SHOP.format(of_the_app="None", base="BreakerTask") + BASES)
    assert said.splitlines() == ["the shop's own ('Behind',)", "the shop's own ('Before',)"]


WITHOUT_DJANGO = """
import sys

sys.modules["django"] = None
from celery import Celery

from celery_breaker import BreakerTask, ConfigurationError

app = Celery("shop", broker="memory://")


@app.task(base=BreakerTask, breaker="smtp")
def send(order): ...


for call in (send.delay_on_commit, send.apply_async_on_commit):
    try:
        call(1)
    except ConfigurationError as exc:
        print(exc)
"""


def test_without_django_they_say_what_to_call() -> None:
    argv = [sys.executable, "-c", WITHOUT_DJANGO]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    said = "on_commit waits for a transaction of Django's, which is not installed: call delay or apply_async"
    assert [line.split(" (", 1)[0] for line in done.stdout.splitlines()] == [said] * 2
