"""Django stores for tests: one process, as many databases as tests bring along.

`django_opener(entry)` migrates the database of that `DATABASES` entry and gives what opens a store in it, in this
process or in another. `plant` writes a record's text as the store would.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from celery_breaker.stores.base import Store
from celery_breaker.stores.cas import Key

__all__ = ["database", "django_opener", "migrate", "open_django", "plant", "set_up", "sqlite_entry"]

Entry = dict[str, Any]

_lock = threading.Lock()
_aliases: dict[str, str] = {}


def set_up() -> None:
    """Configure Django in this process, with the app of the store and a database that nobody uses."""
    import django
    from django.conf import settings

    if "MySQLdb" not in sys.modules:
        import pymysql

        pymysql.install_as_MySQLdb()
    if not settings.configured:
        settings.configure(INSTALLED_APPS=["celery_breaker.django"], DATABASES={}, USE_TZ=True, STATIC_URL="static/")
        django.setup()


def sqlite_entry(path: Path) -> Entry:
    """The `DATABASES` entry of this file."""
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}


def database(entry: Entry) -> str:
    """The alias of this database, added to `DATABASES` if need be."""
    set_up()
    from django.db import connections
    from django.db.utils import ConnectionHandler

    key = repr(sorted(entry.items(), key=lambda item: item[0]))
    with _lock:
        if key not in _aliases:
            complete = ConnectionHandler({"default": {**entry}}).settings["default"]
            _aliases[key] = f"database{len(_aliases)}"
            connections.settings[_aliases[key]] = complete
        return _aliases[key]


def migrate(entry: Entry, *target: str) -> str:
    """Bring the store's table to the newest form, or to that of the migration ``target``; the alias."""
    alias = database(entry)
    from django.core.management import call_command
    from django.db import connections

    call_command("migrate", "celery_breaker", *target, database=alias, verbosity=0, skip_checks=True)
    connections[alias].close()
    return alias


def open_django(entry: Entry, prefix: str, timeout: float = 20.0) -> Store:
    """A store in this database; can be sent to another process as a `functools.partial`."""
    alias = database(entry)
    from celery_breaker.stores.django import DjangoStore

    return DjangoStore(alias, prefix=prefix, timeout=timeout)


def django_opener(entry: Entry) -> Callable[[], Store]:
    """`opener()` → a store on data that no other test has touched; the table is made now."""
    migrate(entry)
    return partial(open_django, entry, uuid4().hex)


def plant(store: Store, name: str, version: int, text: str) -> None:
    """Leave ``text`` as this version of the record of this breaker."""
    values: Any = store._values  # type: ignore[attr-defined]
    key = Key("record", name)
    assert values.save(key, f"{version} {text}", over=values.load([key]).values.get(key), ttl=None)
