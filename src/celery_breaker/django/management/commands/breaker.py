"""``manage.py breaker``: the commands of ``celery breaker``, run by Celery itself, with Django's settings in place."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import Any

from django.core.management.base import BaseCommand, CommandError

__all__ = ["Command"]


class Command(BaseCommand):  # type: ignore[misc]  # Django has no types
    """Hands everything after its name to ``celery breaker``; so output and exit codes are the same.

    The app is that which the project has loaded (in its ``__init__.py``, as Celery's guide for Django says), or that
    which ``-A`` names before the command: ``manage.py breaker -A proj list``.
    """

    help = "See and steer circuit breakers: manage.py breaker [-A APP] COMMAND; --help lists the commands."
    requires_system_checks: tuple[str, ...] = ()

    def add_arguments(self, parser: Any) -> None:
        """Whatever follows is Celery's to understand."""
        parser.add_argument("args", nargs="...")

    def run_from_argv(self, argv: list[str]) -> None:
        """As Django calls it; no argument is Django's."""
        app, rest = _app_of(argv[2:])
        celery = next(iter(entry_points(group="console_scripts", name="celery")), None)
        if celery is None:
            raise CommandError("the command `celery` is not installed; install Celery in this environment")
        before = sys.argv
        sys.argv = ["celery", *app, "breaker", *rest]
        try:
            celery.load()()
        finally:
            sys.argv = before

    def handle(self, *args: Any, **options: Any) -> None:
        """As `call_command` calls it: ``call_command("breaker", "open", "smtp")``; ends with `SystemExit`."""
        self.run_from_argv(["", "", *map(str, args)])


def _app_of(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The arguments that say which app it is, and the rest."""
    first = arguments[0] if arguments else ""
    if first in ("-A", "--app"):
        return arguments[:2], arguments[2:]
    if first.startswith(("-A", "--app=")):
        return arguments[:1], arguments[1:]
    return [], arguments
