"""From a URL to a store."""

from __future__ import annotations

from urllib.parse import urlsplit

from celery_breaker.errors import ConfigurationError
from celery_breaker.stores.base import Store

__all__ = ["SCHEMES", "open_store"]

SCHEMES = ("memory", "redis", "rediss", "unix")


def open_store(url: str, *, prefix: str = "celery-breaker", timeout: float = 1.0) -> Store:
    """The store that ``url`` names; does not connect yet, so a server that is down does not matter here.

    Raises:
        ConfigurationError: the scheme is unknown, the URL cannot be read, or its driver is not installed.

    Example:
        >>> open_store("memory://").url
        'memory://'
    """
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ConfigurationError(f"breaker_store has the unknown scheme {scheme!r}; use one of {known}")
    if scheme == "memory":
        from celery_breaker.stores.memory import MemoryStore

        return MemoryStore()
    try:
        from celery_breaker.stores.redis import RedisStore
    except ImportError:
        raise ConfigurationError("breaker_store needs the Redis driver; pip install 'celery-breaker[redis]'") from None
    try:
        path = urlsplit(url).path.strip("/")
        if scheme != "unix" and path and not path.isdigit():
            raise ValueError(f"it ends in {path!r}, and not in the number of a database")
        return RedisStore(url, prefix=prefix, timeout=timeout)
    except (TypeError, ValueError, AttributeError) as exc:
        raise ConfigurationError(f"breaker_store cannot be understood as a {scheme}:// URL: {exc}") from None
