"""From a URL to a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from celery_breaker.errors import ConfigurationError, suggestion
from celery_breaker.settings.derive import REDIS
from celery_breaker.settings.urls import redacted, scheme_of
from celery_breaker.stores.base import Store

__all__ = ["SCHEMES", "kind_of", "open_store"]

_SQL = ("postgresql", "mysql", "mariadb", "sqlite")
_MEMCACHED = ("memcached", "memcache", "pymemcache", "pylibmc")

SCHEMES = (
    *("memory", "message", "redis", "rediss", "unix", "sentinel", "redis+cluster", "rediss+cluster"),
    *("valkey", "valkeys", "django-db", "db+…", *_SQL, "memcached"),
)
"""What a store's URL may begin with; of a database also with its driver, like ``postgresql+psycopg``."""

_OPTIONS = {"sql": ("engine_options",)}
"""What stores take beside their URL; the Redis store checks for itself."""

_DRIVERS = {
    "redis": "the Redis driver; pip install 'celery-breaker[redis]'",
    "sql": "SQLAlchemy; pip install 'celery-breaker[sqlalchemy]'",
    "django": "Django; pip install 'celery-breaker[django]'",
    "memcached": "the memcached driver; pip install 'celery-breaker[memcached]'",
}


def kind_of(url: str) -> str:
    """Which store a URL means: memory, message, redis, sql, django or memcached; nothing if none.

    Example:
        >>> kind_of("db+postgresql://db/app"), kind_of("valkey://cache")
        ('sql', 'redis')
    """
    scheme = scheme_of(url)
    first, _, rest = scheme.partition("+")
    if scheme in REDIS:
        return "redis"
    if first in _SQL or (first == "db" and rest):
        return "sql"
    if scheme in _MEMCACHED or (first == "cache" and rest in _MEMCACHED):
        return "memcached"
    return {"memory": "memory", "message": "message", "django-db": "django"}.get(scheme, "")


def open_store(
    url: str,
    *,
    prefix: str = "celery-breaker",
    timeout: float = 1.0,
    options: Mapping[str, object] | None = None,
) -> Store:
    """The store that ``url`` names; does not connect yet, so a server that is down does not matter here.

    Args:
        prefix: first part of every key.
        timeout: seconds that one round trip may take.
        options: what the store takes beside its URL, ``Derived.options`` for instance.

    Raises:
        ConfigurationError: the scheme is unknown, the URL or an option cannot be understood, or a driver is not
            installed. The message shows no credentials.

    Example:
        >>> open_store("memory://").url
        'memory://'
    """
    kind = kind_of(url)
    if not kind:
        raise ConfigurationError(_unknown(url))
    taken = _OPTIONS.get(kind, ())
    for option in options or ():
        if kind != "redis" and option not in taken:
            raise ConfigurationError(f"breaker_store_options has {option!r}, which a {kind} store does not take")
    try:
        return _OPENERS[kind](url, {"prefix": prefix, "timeout": timeout}, dict(options or {}))
    except ConfigurationError as exc:
        raise ConfigurationError(redacted(str(exc), url)) from None
    except ImportError:
        raise ConfigurationError(f"breaker_store needs {_DRIVERS[kind]}") from None
    except Exception as exc:  # a driver's own: it may quote the URL, so neither it nor its traceback goes further
        said = redacted(str(exc), url).partition("\n")[0]
        raise ConfigurationError(f"breaker_store cannot be understood as a {scheme_of(url)}:// URL: {said}") from None


def _unknown(url: str) -> str:
    scheme = scheme_of(url)
    if not scheme:
        return f"breaker_store must be a URL that begins with one of {', '.join(f'{name}://' for name in SCHEMES)}"
    return f"breaker_store has the unknown scheme {scheme!r}{suggestion(scheme, SCHEMES)}"


# --- one for each kind: only then is its driver imported --------------------------------------------------------------


def _memory(_url: str, _common: dict[str, Any], _options: dict[str, Any]) -> Store:
    from celery_breaker.stores.memory import MemoryStore

    return MemoryStore()


def _message(_url: str, _common: dict[str, Any], _options: dict[str, Any]) -> Store:
    from celery_breaker.stores.message import MessageStore

    return MessageStore()


def _redis(url: str, common: dict[str, Any], options: dict[str, Any]) -> Store:
    from celery_breaker.stores.redis import RedisStore

    return RedisStore(url, **common, options=options)


def _sql(url: str, common: dict[str, Any], options: dict[str, Any]) -> Store:
    from celery_breaker.stores.sqlalchemy import SQLAlchemyStore

    return SQLAlchemyStore(url, **common, **options)


def _django(url: str, common: dict[str, Any], _options: dict[str, Any]) -> Store:
    from celery_breaker.stores.django import DjangoStore

    return DjangoStore(url.partition("://")[2].strip("/") or None, **common)


def _memcached(url: str, common: dict[str, Any], _options: dict[str, Any]) -> Store:
    from celery_breaker.stores.memcached import MemcachedStore

    return MemcachedStore(url, **common)


_OPENERS: Mapping[str, Callable[[str, dict[str, Any], dict[str, Any]], Store]] = {
    "memory": _memory,
    "message": _message,
    "redis": _redis,
    "sql": _sql,
    "django": _django,
    "memcached": _memcached,
}
