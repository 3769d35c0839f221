"""System checks: whether the project's settings and database are what the Django store needs.

They read the settings of Celery where its Django guide puts them, as ``CELERY_…`` in Django's; where there are none,
only the worker itself and ``celery breaker doctor`` can tell which store is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Info, Tags, register
from django.db import connections, router

from celery_breaker.django.models import StoredValue
from celery_breaker.errors import ConfigurationError, StoreError
from celery_breaker.settings import Derived, derive_store
from celery_breaker.stores.django import DjangoStore, unshared

__all__ = ["check_store", "check_table"]

_SCHEME = "django-db://"


@register(Tags.compatibility)  # type: ignore[untyped-decorator]  # Django has no types
def check_store(app_configs: object = None, **kwargs: Any) -> list[CheckMessage]:
    """Whether the app is of use, and whether the store can be opened; asks no database."""
    derived = _derived()
    if derived is None:
        return []
    if not derived.url.startswith(_SCHEME):
        if apps.is_installed("django.contrib.admin"):
            return []  # the app is of use there, wherever breakers are kept
        return [
            Info(
                f"'celery_breaker.django' is installed, but its table is not used: {derived.why}.",
                hint="Set CELERY_BREAKER_STORE = 'django-db://', or take the app out of INSTALLED_APPS.",
                id="celery_breaker.I001",
            )
        ]
    try:
        alias = _alias_of(derived)
    except ConfigurationError as exc:
        return [Error(f"Circuit breakers cannot be kept in Django's database: {exc}.", id="celery_breaker.E001")]
    found: list[CheckMessage] = []
    if unshared(connections[alias]):
        found.append(
            Error(
                f"Circuit breakers are kept in database {alias!r}, which is in memory: each connection has its own.",
                hint="Name a file, or set CELERY_BREAKER_STORE.",
                id="celery_breaker.E002",
            )
        )
    if not router.allow_migrate_model(alias, StoredValue):
        found.append(
            Error(
                f"Circuit breakers are kept in database {alias!r}, but a database router keeps their table out of it.",
                hint="Let its allow_migrate() return True for the app label 'celery_breaker' there, or let its"
                " db_for_write() name another database.",
                id="celery_breaker.E003",
            )
        )
    return found


@register(Tags.database)  # type: ignore[untyped-decorator]  # Django has no types
def check_table(
    app_configs: object = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Whether the table is there; a warning, since an error would keep ``manage.py migrate`` from making it."""
    derived = _derived()
    if derived is None or not derived.url.startswith(_SCHEME):
        return []
    try:
        alias = _alias_of(derived)
        if alias not in (databases or ()) or unshared(connections[alias]):
            return []
        store = DjangoStore(alias, timeout=5.0)
        try:
            store.names()
        finally:
            store.close()
    except ConfigurationError:
        return []  # said by check_store
    except StoreError as exc:
        return [checks.Warning(f"Circuit breakers cannot be kept: {exc}.", id="celery_breaker.W001")]
    return []


def _derived() -> Derived | None:
    """Which store Celery's settings lead to; ``None`` if they are not among Django's."""
    store, results, broker = (
        getattr(settings, f"CELERY_{name}", None) for name in ("BREAKER_STORE", "RESULT_BACKEND", "BROKER_URL")
    )
    if not any((store, results, broker)):
        return None
    return derive_store(
        store,
        result_backend=results if isinstance(results, str) else None,
        broker_url=broker if isinstance(broker, str) else None,
    )


def _alias_of(derived: Derived) -> str:
    store = DjangoStore(derived.url.removeprefix(_SCHEME).strip("/") or None)
    return store.url.removeprefix(_SCHEME)
