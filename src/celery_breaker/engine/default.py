"""Which registry a breaker belongs to when it is not told: the app's, or one in this process's memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from celery_breaker.engine.registry import Registry
from celery_breaker.stores.base import Store
from celery_breaker.stores.url import open_store

__all__ = ["current_registry", "provide", "registry_at", "registry_from_here"]

_lock = threading.RLock()
_provider: Callable[[], Registry] | None = None
_bound: Callable[[], Callable[[], Registry]] | None = None
_registries: dict[str, Registry] = {}


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 -- a thread of the parent may have held it
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


def provide(
    provider: Callable[[], Registry] | None, *, bound: Callable[[], Callable[[], Registry]] | None = None
) -> None:
    """Let ``provider`` say which registry is current; ``None`` goes back to this process's own.

    Where that differs from thread to thread, ``bound`` gives a provider for other threads, which says what is current
    in the one that asked for it; that takes no time.
    """
    global _provider, _bound  # one per process, set once as the plugin is imported
    _provider, _bound = provider, bound


def current_registry() -> Registry:
    """The registry of breakers that name no store."""
    return _provider() if _provider is not None else registry_at("memory://")


def registry_from_here() -> Callable[[], Registry]:
    """`current_registry` as it is for the calling thread, to be called in another one. Takes no time."""
    return current_registry if _bound is None else _bound()


def registry_at(store: str | Store) -> Registry:
    """The registry of this process for a store, given as a URL or an object; made at first use.

    Raises:
        ConfigurationError: the URL cannot be understood or its driver is missing.
    """
    key = store if isinstance(store, str) else f"object:{id(store)}"
    with _lock:
        registry = _registries.get(key)
        if registry is None:
            registry = _registries[key] = Registry(open_store(store) if isinstance(store, str) else store)
        return registry
