"""Django projects in a folder, for what a process can have only one of: settings. Each command is a process.

`project(databases, **settings)` makes one, `.manage("check")` runs a command of `manage.py` in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["Project"]

_APPS = ("celery_breaker.django",)

_HEAD = """
import pymysql

pymysql.install_as_MySQLdb()
SECRET_KEY = "of a test"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""


class Project:
    """A project with these `DATABASES`, and further settings; their values are what `repr` can write."""

    def __init__(self, folder: Path, databases: dict[str, Any], apps: tuple[str, ...] = _APPS, **settings: Any) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._settings = {"DATABASES": databases, "INSTALLED_APPS": list(apps), **settings}
        self.set()

    def set(self, **settings: Any) -> None:
        """Change some settings."""
        self._settings |= settings
        lines = [f"{name} = {value!r}" for name, value in self._settings.items()]
        self.write("project_settings.py", "\n".join([_HEAD, *lines, ""]))

    def write(self, name: str, text: str) -> None:
        """A module of the project."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def manage(self, *args: str, well: bool = True) -> str:
        """What this command of `manage.py` says, on either stream; ``well`` is whether it should end so."""
        return self._run("-m", "django", *args, well=well)

    def python(self, code: str, *, well: bool = True) -> str:
        """What this says in a process that has the project's settings, before it set up Django."""
        return self._run("-c", code, well=well)

    def _run(self, *args: str, well: bool) -> str:
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "CELERY_"))},
            "DJANGO_SETTINGS_MODULE": "project_settings",
            "PYTHONPATH": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",  # settings may change within the second that a .pyc counts by
        }
        done = subprocess.run(
            [sys.executable, *args],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode == 0) is well, done.stdout
        return done.stdout
