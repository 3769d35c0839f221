"""A Django site with our admin pages and a Celery app, served by a process of its own, and a browser for it."""

from __future__ import annotations

import http.cookiejar
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.django_projects import Project
from tests.support.django_stores import sqlite_entry
from tests.support.processes import Process, free_port
from tests.support.servers import RedisServer
from tests.support.waiting import eventually

__all__ = ["BREAKERS", "Browser", "Site", "environment"]

BREAKERS: dict[str, Any] = {
    "smtp": {"tasks": ["shop.*"]},
    "crm": {},
    "webhook:{host}": {},
    "local": {"scope": "worker"},
}

_APPS = (
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_celery_results",
    "celery_breaker.django",
    "shop",
)
_MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
_PROCESSORS = [
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
]
_SETTINGS: dict[str, Any] = {
    "ALLOWED_HOSTS": ["127.0.0.1"],
    "DEBUG": False,
    "MIDDLEWARE": _MIDDLEWARE,
    "ROOT_URLCONF": "shop.urls",
    "STATIC_URL": "static/",
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": _PROCESSORS},
        }
    ],
}

_APP = """
from celery import Celery

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")


@app.task(name="shop.mail")
def mail():
    pass
"""

_MANAGE = """
import sys

from django.core.management import execute_from_command_line

execute_from_command_line(sys.argv)
"""

_URLS = """
from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
"""

_USERS = """
import django

django.setup()
from django.contrib.auth.models import Permission, User

User.objects.create_superuser("root", password="secret")
for name, granted in {
    "stranger": [],
    "viewer": ["view_breaker"],
    "steerer": ["view_breaker", "steer_breaker"],
    "releaser": ["view_breaker", "release_breaker"],
}.items():
    user = User.objects.create_user(name, password="secret", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=granted))
"""


def environment(folder: Path) -> dict[str, str]:
    """Of a process of this project."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "CELERY_"))}
    return {**kept, "DJANGO_SETTINGS_MODULE": "project_settings", "PYTHONPATH": str(folder), "PYTHONUNBUFFERED": "1"}


class Site(Process):
    """The site, migrated, with users whose password is "secret": root, stranger, viewer, steerer, releaser.

    Args:
        broker, store: where messages and breakers are.
    """

    def __init__(self, folder: Path, *, broker: str, store: RedisServer) -> None:
        self.store = store
        self.conf = {"broker_url": broker, "breaker_store": store.url, "breakers": BREAKERS}
        settings = {f"CELERY_{key.upper()}": value for key, value in self.conf.items()}
        settings |= {"CELERY_RESULT_BACKEND": "django-db", "CELERY_BREAKER_STORE_TIMEOUT": 1.0}
        self.project = Project(
            folder, {"default": sqlite_entry(folder / "db.sqlite3")}, apps=_APPS, **_SETTINGS, **settings
        )
        self.project.write("manage.py", _MANAGE)
        self.project.write("shop/__init__.py", "from shop.celery import app\n")
        self.project.write("shop/celery.py", _APP)
        self.project.write("shop/urls.py", _URLS)
        self.port = free_port()
        argv = [sys.executable, "-m", "django", "runserver", f"127.0.0.1:{self.port}", "--noreload"]
        super().__init__(argv, name="site", log=folder / "site.log", env=environment(folder), cwd=folder)

    def set_up(self) -> None:
        self.project.manage("migrate")
        self.project.python(_USERS)
        self.start()
        eventually(lambda: Browser(self).get("/admin/login/")[0] == 200, self.tail, timeout=30, ignore=(OSError,))


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class Browser:
    """Whoever is logged in with it."""

    def __init__(self, site: Site, user: str = "") -> None:
        self._base = f"http://127.0.0.1:{site.port}"
        self._cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies), _Stay())
        if user:
            self.get("/admin/login/")
            status, _ = self.post("/admin/login/", {"username": user, "password": "secret"})
            assert status == 302

    def get(self, path: str) -> tuple[int, str]:
        """Status and text."""
        return self._ask(urllib.request.Request(self._base + path))

    def post(self, path: str, data: Mapping[str, Any], *, token: bool = True) -> tuple[int, str]:
        """Status and text of what a form sends; the text of a redirection is where it leads."""
        cookies = {cookie.name: cookie.value for cookie in self._cookies}
        sent = {**data, **({"csrfmiddlewaretoken": cookies["csrftoken"]} if token else {})}
        body = urllib.parse.urlencode(sent, doseq=True).encode()
        return self._ask(urllib.request.Request(self._base + path, data=body))

    def _ask(self, request: urllib.request.Request) -> tuple[int, str]:
        try:
            with self._opener.open(request, timeout=20) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, answer.headers.get("Location") or answer.read().decode()
