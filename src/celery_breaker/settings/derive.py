"""Which store an app's breakers are kept in, and why: what the settings say, else what Celery itself is given."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec

from celery_breaker.settings.urls import scheme_of, servers_of, shown, split_urls

__all__ = ["REDIS", "Derived", "derive_store"]

REDIS = (
    *("redis", "rediss", "unix", "valkey", "valkeys", "sentinel"),
    *("redis+socket", "socket", "redis+cluster", "rediss+cluster"),
)
"""Schemes of Redis and what speaks like it; Celery's own among them."""

_MEMCACHED = ("memcached", "memcache", "pymemcache", "pylibmc")
"""Celery's names for one thing."""

_TRANSPORT_OPTIONS = ("master_name", "min_other_sentinels", "sentinel_kwargs", "global_keyprefix")
_CREDENTIALS = ("username", "password", "credential_provider")
_PASSWORD = re.compile(r"://[^/?@]*:[^/?@]*@|[?&](password|credential_provider)=")
_DJANGO_APP = "celery_breaker.django"


@dataclass(frozen=True, slots=True, repr=False)
class Derived:
    """A store's URL and why it was chosen; its representation shows no credentials.

    Attributes:
        url: as `open_store` takes it, credentials included.
        why: one clause, fit for logs.
        shared: false when each worker is left to itself.
        options: what `open_store` needs beside the URL; may hold credentials.
    """

    url: str
    why: str
    shared: bool = True
    options: Mapping[str, object] = field(default_factory=dict)

    def __repr__(self) -> str:
        options = ", ".join(sorted(self.options))
        return f"Derived({shown(self.url)!r}, {self.why!r}, shared={self.shared}, options=<{options}>)"


def derive_store(
    explicit: str | None,
    *,
    result_backend: str | None,
    broker_url: str | None,
    conf: Mapping[str, object] | None = None,
    broker_ssl: object = None,
    options: Mapping[str, object] | None = None,
    installed: Callable[[str], bool] | None = None,
) -> Derived:
    """The store to use: the setting, else the first that is there of

    the results backend if it is Redis; the broker if it is Redis; the results database, Django's or SQLAlchemy's;
    memcached results; and where nothing is kept that could be shared, messages from worker to worker.

    Args:
        explicit: ``breaker_store``.
        result_backend: as Celery spells it: a URL, or a name such as ``django-db`` or ``cache``.
        broker_url: with credentials; several joined by ``;``.
        conf: the app's configuration, for what Celery says beside the URLs: TLS, passwords, sentinels, prefixes.
        broker_ssl: what the broker's connection uses.
        options: ``breaker_store_options``; they go over what ``conf`` says.
        installed: whether a module, or an app of Django's, is there to be used.

    Example:
        >>> derive_store(None, result_backend="redis://db/1", broker_url="amqp://").why
        'the results backend is Redis'
    """
    found = list(_found(result_backend, broker_url, conf or {}, broker_ssl))
    ours = dict(options or {})
    if explicit:
        return Derived(
            explicit,
            "breaker_store says so",
            not explicit.startswith("memory"),
            {**_of_same_server(explicit, found), **ours},
        )
    passed_over = []
    for candidate in found:
        if lack := _lack(candidate, installed or _installed):
            passed_over.append(lack)
        else:
            why = "; ".join([candidate.why, *passed_over])
            return Derived(candidate.url, why, options={**candidate.options, **ours})
    why = "neither results nor broker are kept where breakers could be, so workers tell each other"
    return Derived("message://", "; ".join([why, *passed_over]), options=ours)


@dataclass(frozen=True, slots=True)
class _Candidate:
    url: str
    why: str
    needs: str = ""
    instead: str = ""
    options: Mapping[str, object] = field(default_factory=dict, repr=False)


def _found(
    result_backend: str | None, broker_url: str | None, conf: Mapping[str, object], broker_ssl: object
) -> Iterator[_Candidate]:
    """What could serve, the best first."""
    results, credentials = _results(result_backend, conf)
    no_redis = "the Redis driver is not installed (pip install 'celery-breaker[redis]')"
    if scheme_of(results) in REDIS:
        options = {**_redis_options(conf, "result_backend", conf.get("redis_backend_use_ssl"), join="_"), **credentials}
        yield _Candidate(_redis_url(results), "the results backend is Redis", "redis", no_redis, options)
    broker = broker_url or ""
    if scheme_of(broker) in REDIS:
        yield _Candidate(
            *(_redis_url(broker), "the broker is Redis", "redis", no_redis),
            _redis_options(conf, "broker", broker_ssl),
        )
    if results == "django-db":
        lack = f"the results are in Django's database, but {_DJANGO_APP} is not in INSTALLED_APPS"
        yield _Candidate("django-db://", "the results are in Django's database", _DJANGO_APP, lack)
    elif results.startswith("db+") and not _in_memory(results):
        lack = (
            "the results are in a database, but SQLAlchemy is not installed (pip install 'celery-breaker[sqlalchemy]')"
        )
        yield _Candidate(results, "the results are in a database", "sqlalchemy", lack, _engine_options(conf))
    elif scheme_of(results) == "memcached":
        lack = "the results are in memcached, but its driver is not installed (pip install 'celery-breaker[memcached]')"
        yield _Candidate(results, "the results are in memcached", "pymemcache", lack)


def _lack(candidate: _Candidate, installed: Callable[[str], bool]) -> str:
    return "" if installed(candidate.needs) else candidate.instead


def _installed(name: str) -> bool:
    if name != _DJANGO_APP:
        return find_spec(name) is not None
    django = getattr(sys.modules.get("django.apps"), "apps", None)  # not imported: then no settings name any app
    return bool(django and django.apps_ready and django.is_installed(name))


def _results(backend: str | None, conf: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """The results backend as a URL of one spelling, and what is said apart from it."""
    spelled = (backend or "").strip()
    credentials = {
        "username": conf.get("redis_username"),
        "password": conf.get("redis_password"),
        "credential_provider": conf.get("redis_backend_credential_provider"),
    }
    given = {key: value for key, value in credentials.items() if value}
    if spelled == "redis":
        host = str(conf.get("redis_host") or "localhost")
        plain = f"redis://{host}:{conf.get('redis_port') or 6379}/{conf.get('redis_db') or 0}"
        return (host if "://" in host else plain), given
    if spelled in ("db", "database"):
        return f"db+{url}" if (url := conf.get("database_url")) else "", {}
    if spelled == "cache":
        spelled = f"cache+{conf.get('cache_backend') or ''}"
    if spelled == "django-db" or (spelled.startswith("django_celery_results.") and spelled.endswith("DatabaseBackend")):
        return "django-db", {}
    spelled = spelled.replace("database+", "db+", 1) if spelled.startswith("database+") else spelled
    kind, plus, rest = spelled.partition("+")
    if plus and kind == "cache" and scheme_of(rest) in _MEMCACHED:
        return "memcached://" + rest.partition("://")[2], {}
    return spelled, given if scheme_of(spelled) in REDIS else {}


def _in_memory(url: str) -> bool:
    """A database that each process has for itself."""
    rest = url.partition("://")[2].partition("?")
    return "sqlite" in scheme_of(url) and (rest[0].strip("/") in ("", ":memory:") or "mode=memory" in rest[2])


def _redis_url(url: str) -> str:
    """As redis-py has it; of several servers that stand in for each other, the first."""
    first = url if "sentinel" in scheme_of(url) or "cluster" in scheme_of(url) else split_urls(url)[0]
    if scheme_of(first) in ("redis+socket", "socket"):
        return "unix://" + first.partition("://")[2].replace("virtual_host=", "db=")
    return first


def _redis_options(conf: Mapping[str, object], whose: str, ssl: object, *, join: str = "") -> dict[str, object]:
    """What of the user's own settings a Redis store needs; ``join`` is what Celery puts behind a key prefix."""
    transport = conf.get(f"{whose}_transport_options") or {}
    assert isinstance(transport, Mapping)
    found = {key: transport[key] for key in _TRANSPORT_OPTIONS if transport.get(key)}
    prefix = found.get("global_keyprefix")
    if isinstance(prefix, str) and join and prefix[-1] not in ":_-.":
        found["global_keyprefix"] = prefix + join
    if isinstance(ssl, Mapping) and ssl:
        found["ssl"] = ssl
    return found


def _engine_options(conf: Mapping[str, object]) -> dict[str, object]:
    """How to connect, TLS for instance; the pool of results is none of a store's business."""
    options = conf.get("database_engine_options")
    arguments = options.get("connect_args") if isinstance(options, Mapping) else None
    return {"engine_options": {"connect_args": arguments}} if arguments else {}


def _of_same_server(url: str, found: list[_Candidate]) -> Mapping[str, object]:
    """What Celery says of the server that ``url`` names, if it knows it: TLS, passwords, the name of a master.

    A URL with a password of its own is of another user, perhaps.
    """
    wanted = servers_of(url)
    if scheme_of(url) not in REDIS:
        return {}
    same = (candidate.options for candidate in found if wanted & servers_of(candidate.url))
    left_out = ("global_keyprefix", *(_CREDENTIALS if _PASSWORD.search(url) else ()))
    return {key: value for key, value in next(same, {}).items() if key not in left_out}
