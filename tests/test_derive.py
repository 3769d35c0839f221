"""Which store an app's breakers are kept in, and why."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from celery_breaker.settings import Derived, derive_store

BACKEND, BROKER = "the results backend is Redis", "the broker is Redis"
DATABASE, DJANGO, MEMCACHED = (
    "the results are in a database",
    "the results are in Django's database",
    "the results are in memcached",
)


def everything(_module: str) -> bool:
    return True


def all_but(*missing: str) -> Callable[[str], bool]:
    return lambda module: module not in missing


def derived(backend: str | None, broker: str | None = "amqp://", **more: Any) -> Derived:
    return derive_store(
        more.pop("explicit", None),
        result_backend=backend,
        broker_url=broker,
        installed=more.pop("installed", everything),
        **more,
    )


@pytest.mark.parametrize(
    ("explicit", "backend", "broker", "url", "why"),
    [
        ("redis://mine/3", "redis://results", "redis://broker", "redis://mine/3", "breaker_store says so"),
        (None, "redis://results/1", "redis://broker/0", "redis://results/1", BACKEND),
        (None, "rediss://results/1", "amqp://", "rediss://results/1", BACKEND),
        (None, None, "redis://broker/0", "redis://broker/0", BROKER),
        (None, "db+sqlite:///results.db", "redis://broker/0", "redis://broker/0", BROKER),
        (None, "django-db", "redis://broker/0", "redis://broker/0", BROKER),
        (None, "cache+memcached://c:11211/", "redis://broker/0", "redis://broker/0", BROKER),
        (None, "rpc://", "redis://a/0;redis://b/0", "redis://a/0", BROKER),
        (None, "redis+socket:///run/redis.sock?virtual_host=2", "amqp://", "unix:///run/redis.sock?db=2", BACKEND),
        (None, "rpc://", "socket:///run/redis.sock", "unix:///run/redis.sock", BROKER),
        ("", "redis://results/1", None, "redis://results/1", BACKEND),
        (None, "sentinel://a:1/0;sentinel://b:1/0", None, "sentinel://a:1/0;sentinel://b:1/0", BACKEND),
        (None, None, "sentinel://a:1;sentinel://b:1", "sentinel://a:1;sentinel://b:1", BROKER),
        (None, "valkey://v/0", None, "valkey://v/0", BACKEND),
        (None, "db+postgresql://h/results", "amqp://", "db+postgresql://h/results", DATABASE),
        (None, "database+mysql://h/results", "amqp://", "db+mysql://h/results", DATABASE),
        (None, "django-db", "amqp://", "django-db://", DJANGO),
        (None, "django_celery_results.backends:DatabaseBackend", "amqp://", "django-db://", DJANGO),
        (None, "cache+memcached://c:11211/", "amqp://", "memcached://c:11211/", MEMCACHED),
        (None, "cache+pymemcache://c:1;d:2/", "amqp://", "memcached://c:1;d:2/", MEMCACHED),
    ],
)
def test_the_store_is_the_setting_else_redis_else_the_results_database_else_memcached(
    explicit: str | None, backend: str | None, broker: str | None, url: str, why: str
) -> None:
    found = derived(backend, broker, explicit=explicit)
    assert (found.url, found.why, found.shared) == (url, why, True)


@pytest.mark.parametrize(
    ("backend", "conf", "url", "options"),
    [
        ("redis", {}, "redis://localhost:6379/0", {}),
        (
            "redis",
            {"redis_host": "r", "redis_port": 7, "redis_db": 2, "redis_password": "p"},
            "redis://r:7/2",
            {"password": "p"},
        ),
        ("redis", {"redis_host": "redis://r:7/2"}, "redis://r:7/2", {}),
        ("database", {"database_url": "postgresql://h/d"}, "db+postgresql://h/d", {}),
        ("cache", {"cache_backend": "memcached://c:11211/"}, "memcached://c:11211/", {}),
    ],
)
def test_a_backend_that_is_only_named_is_looked_up_in_the_settings(
    backend: str, conf: dict[str, Any], url: str, options: dict[str, Any]
) -> None:
    found = derived(backend, conf=conf)
    assert (found.url, dict(found.options)) == (url, options)


@pytest.mark.parametrize(
    ("backend", "broker"),
    [
        (None, None),
        ("rpc://", "amqp://"),
        ("cache+memory://", "memory://"),
        ("cache", "memory://"),
        ("database", "amqp://"),
        ("db+sqlite://", "amqp://"),
        ("db+sqlite:///:memory:", "amqp://"),
        ("db+sqlite:///file:x?mode=memory&uri=true", "amqp://"),
        ("file:///results", "sqs://"),
    ],
)
def test_where_nothing_could_be_shared_workers_tell_each_other(backend: str | None, broker: str | None) -> None:
    found = derived(backend, broker)
    assert (found.url, found.shared) == ("message://", True)
    assert "workers tell each other" in found.why


def test_memory_that_was_asked_for_is_not_shared() -> None:
    assert derived("redis://", explicit="memory://") == Derived("memory://", "breaker_store says so", shared=False)


@pytest.mark.parametrize(
    ("missing", "backend", "said"),
    [
        ("redis", "redis://r", "pip install 'celery-breaker[redis]'"),
        ("sqlalchemy", "db+postgresql://h/d", "pip install 'celery-breaker[sqlalchemy]'"),
        ("pymemcache", "cache+memcached://c:1/", "pip install 'celery-breaker[memcached]'"),
        ("celery_breaker.django", "django-db", "celery_breaker.django is not in INSTALLED_APPS"),
    ],
)
def test_what_cannot_be_used_is_passed_over_and_that_is_said(missing: str, backend: str, said: str) -> None:
    found = derived(backend, installed=all_but(missing))
    assert found.url == "message://"
    assert said in found.why


def test_without_the_redis_driver_the_results_database_comes_next() -> None:
    found = derived("db+sqlite:///r.db", "redis://broker", installed=all_but("redis"))
    assert found.url == "db+sqlite:///r.db"
    assert found.why.startswith(DATABASE + "; the Redis driver is not installed")


@pytest.mark.parametrize(
    ("ready", "apps", "url"),
    [
        (True, ["celery_breaker.django"], "django-db://"),
        (True, [], "message"),
        (False, ["celery_breaker.django"], "message"),
    ],
)
def test_django_s_database_is_used_only_where_our_app_is_installed(
    monkeypatch: pytest.MonkeyPatch, ready: bool, apps: list[str], url: str
) -> None:
    registry = SimpleNamespace(apps_ready=ready, is_installed=apps.__contains__)
    monkeypatch.setitem(sys.modules, "django.apps", SimpleNamespace(apps=registry))
    assert derive_store(None, result_backend="django-db", broker_url="amqp://").url.startswith(url)


def test_django_that_was_never_imported_has_no_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "django.apps", raising=False)
    assert derive_store(None, result_backend="django-db", broker_url="amqp://").url == "message://"


# --- what Celery says beside the URLs ---------------------------------------------------------------------------------

TLS = {"ssl_ca_certs": "/ca.pem"}


def test_a_redis_backend_s_tls_sentinel_and_prefix_come_from_celery_s_settings() -> None:
    found = derived(
        "sentinel://a:1;sentinel://b:1",
        conf={
            "redis_backend_use_ssl": TLS,
            "redis_username": "u",
            "redis_password": "p",
            "redis_backend_credential_provider": "mod:Provider",
            "result_backend_transport_options": {
                "master_name": "m",
                "sentinel_kwargs": {"password": "q"},
                "global_keyprefix": "shop",
                "visibility_timeout": 5,
            },
        },
    )
    assert dict(found.options) == {
        "ssl": TLS,
        "username": "u",
        "password": "p",
        "credential_provider": "mod:Provider",
        "master_name": "m",
        "sentinel_kwargs": {"password": "q"},
        "global_keyprefix": "shop_",
    }


def test_a_redis_broker_s_come_from_the_broker_s() -> None:
    conf = {
        "broker_transport_options": {"master_name": "m", "global_keyprefix": "shop"},
        "redis_password": "of the backend",
        "result_backend_transport_options": {"master_name": "other"},
    }
    found = derived(None, "sentinel://a:1", conf=conf, broker_ssl=TLS)
    assert dict(found.options) == {"ssl": TLS, "master_name": "m", "global_keyprefix": "shop"}


@pytest.mark.parametrize("prefix", ["shop:", "shop_", "shop-", "shop."])
def test_a_key_prefix_that_ends_in_a_mark_is_left_as_celery_leaves_it(prefix: str) -> None:
    found = derived("redis://r", conf={"result_backend_transport_options": {"global_keyprefix": prefix}})
    assert found.options["global_keyprefix"] == prefix


def test_a_database_s_way_of_connecting_is_taken_over_but_not_its_pool() -> None:
    conf = {"database_engine_options": {"pool_size": 3, "connect_args": {"sslmode": "require"}}}
    found = derived("db+postgresql://h/d", conf=conf)
    assert dict(found.options) == {"engine_options": {"connect_args": {"sslmode": "require"}}}


def test_a_store_on_the_server_of_the_results_takes_what_celery_knows_of_that_server() -> None:
    conf = {"redis_backend_use_ssl": TLS, "result_backend_transport_options": {"global_keyprefix": "shop"}}
    assert dict(derived("redis://r:1/0", explicit="redis://R:1/5", conf=conf).options) == {"ssl": TLS}
    assert dict(derived("redis://r:1/0", explicit="redis://other:1/5", conf=conf).options) == {}


@pytest.mark.parametrize(
    ("explicit", "taken"),
    [
        ("redis://r:1/5", {"username", "password"}),
        ("redis://u@r:1/5", {"username", "password"}),  # the URL's user goes over it, and has no password of its own
        ("redis://:q@r:1/5", set()),
        ("redis://u:q@r:1/5", set()),
        ("redis://r:1/5?password=q", set()),
        ("redis://r:1/5?credential_provider=mod:Provider", set()),
    ],
)
def test_a_store_with_a_password_of_its_own_takes_no_credentials_of_celery_s(explicit: str, taken: set[str]) -> None:
    conf = {"redis_username": "u", "redis_password": "p"}
    assert set(derived("redis://r:1/0", explicit=explicit, conf=conf).options) == taken


def test_breaker_store_options_go_over_celery_s() -> None:
    conf = {"result_backend_transport_options": {"master_name": "m"}}
    found = derived("sentinel://a:1", conf=conf, options={"master_name": "other"})
    assert found.options["master_name"] == "other"


def test_the_representation_shows_neither_the_url_s_password_nor_the_options() -> None:
    found = derived("rediss://u:hunter2@r/0?password=hunter3", conf={"redis_password": "hunter4"})
    assert found.options["password"] == "hunter4"
    assert "hunter" not in repr(found)
    assert "rediss://r/0" in repr(found)
