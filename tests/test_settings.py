"""The settings of an app, and where its store is."""

from __future__ import annotations

from typing import Any

import pytest

from celery_breaker.errors import ConfigurationError
from celery_breaker.settings import DEFAULTS, Derived, Settings, derive_store


def test_without_settings_the_defaults_are_those_of_the_documentation() -> None:
    assert Settings.from_conf({}) == Settings()
    assert {f"breaker_{name}" for name in Settings.__slots__} - {"breaker_breakers"} | {"breakers"} == set(DEFAULTS)
    settings = Settings()
    assert (settings.store, settings.store_prefix, settings.store_timeout) == (None, "celery-breaker", 1.0)
    assert (settings.refresh_interval, settings.tend_interval, settings.tend_queue) == (1.0, 5.0, None)
    assert settings.bus is True and settings.breakers == {}


def test_settings_are_taken_from_an_app_s_configuration() -> None:
    conf = {
        "broker_url": "amqp://",
        "breakers": {"smtp": {"max_failures": 3}},
        "breaker_store": "redis://localhost",
        "breaker_store_prefix": "shop",
        "breaker_store_timeout": 0.5,
        "breaker_refresh_interval": 2,
        "breaker_tend_interval": 10,
        "breaker_tend_queue": "agent",
        "breaker_bus": False,
    }
    assert Settings.from_conf(conf) == Settings(
        breakers={"smtp": {"max_failures": 3}},
        store="redis://localhost",
        store_prefix="shop",
        store_timeout=0.5,
        refresh_interval=2,
        tend_interval=10,
        tend_queue="agent",
        bus=False,
    )


@pytest.mark.parametrize("name", ["breaker_store_timeout", "breaker_refresh_interval", "breaker_tend_interval"])
@pytest.mark.parametrize("value", [0, -1, None, "1", True, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}=.* must be a number of seconds above 0"):
        Settings.from_conf({name: value})


@pytest.mark.parametrize("value", [["smtp"], "smtp", 5, {"smtp": 3}, {"smtp": None}])
def test_breakers_that_map_no_names_to_options_are_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match="breakers must map names to options"):
        Settings.from_conf({"breakers": value})


@pytest.mark.parametrize("value", [None, {}])
def test_no_breakers_are_fine(value: Any) -> None:
    assert Settings.from_conf({"breakers": value}).breakers == {}


def test_a_store_that_is_no_url_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="breaker_store=5 must be a URL, or None to derive one"):
        Settings.from_conf({"breaker_store": 5})


BACKEND, BROKER = "the results backend is Redis", "the broker is Redis"


@pytest.mark.parametrize(
    ("explicit", "backend", "broker", "url", "why"),
    [
        ("redis://mine/3", "redis://results", "redis://broker", "redis://mine/3", "breaker_store says so"),
        (None, "redis://results/1", "redis://broker/0", "redis://results/1", BACKEND),
        (None, "rediss://results/1", "amqp://", "rediss://results/1", BACKEND),
        (None, None, "redis://broker/0", "redis://broker/0", BROKER),
        (None, "db+sqlite:///results.db", "redis://broker/0", "redis://broker/0", BROKER),
        (None, "rpc://", "redis://a/0;redis://b/0", "redis://a/0", BROKER),
        (None, "redis+socket:///run/redis.sock?virtual_host=2", "amqp://", "unix:///run/redis.sock?db=2", BACKEND),
        (None, "rpc://", "socket:///run/redis.sock", "unix:///run/redis.sock", BROKER),
        ("", "redis://results/1", None, "redis://results/1", BACKEND),
    ],
)
def test_the_store_is_the_setting_else_the_backend_else_the_broker(
    explicit: str | None, backend: str | None, broker: str | None, url: str, why: str
) -> None:
    assert derive_store(explicit, result_backend=backend, broker_url=broker) == Derived(url, why, shared=True)


@pytest.mark.parametrize(("backend", "broker"), [(None, None), ("rpc://", "amqp://"), ("cache+memory://", "memory://")])
def test_without_redis_each_worker_is_left_to_itself_and_that_is_said(backend: str | None, broker: str | None) -> None:
    derived = derive_store(None, result_backend=backend, broker_url=broker)
    assert (derived.url, derived.shared) == ("memory://", False)
    assert "set breaker_store to share" in derived.why


def test_memory_that_was_asked_for_is_not_shared_either() -> None:
    assert derive_store("memory://", result_backend="redis://", broker_url=None) == Derived(
        "memory://", "breaker_store says so", shared=False
    )


def test_an_unknown_setting_names_the_nearest_known_one() -> None:
    with pytest.raises(ConfigurationError, match="'breaker_tend_intervall'; did you mean 'breaker_tend_interval'"):
        Settings.from_conf({"breaker_tend_intervall": 3})
