"""The settings of an app."""

from __future__ import annotations

from typing import Any

import pytest

from celery_breaker.errors import ConfigurationError
from celery_breaker.settings import DEFAULTS, Settings


def test_without_settings_the_defaults_are_those_of_the_documentation() -> None:
    assert Settings.from_conf({}) == Settings()
    assert {f"breaker_{name}" for name in Settings.__slots__} - {"breaker_breakers"} | {"breakers"} == set(DEFAULTS)
    settings = Settings()
    assert (settings.store, settings.store_prefix, settings.store_timeout) == (None, "celery-breaker", 1.0)
    assert (settings.refresh_interval, settings.tend_interval, settings.tend_queue) == (1.0, 5.0, None)
    assert (settings.metrics_port, settings.metrics_address, settings.opentelemetry) == (None, "0.0.0.0", False)
    assert settings.bus is True and settings.breakers == {} and settings.store_options == {}


def test_settings_are_taken_from_an_app_s_configuration() -> None:
    conf = {
        "broker_url": "amqp://",
        "breakers": {"smtp": {"max_failures": 3}},
        "breaker_store": "redis://localhost",
        "breaker_store_options": {"username": "shop"},
        "breaker_store_prefix": "shop",
        "breaker_store_timeout": 0.5,
        "breaker_refresh_interval": 2,
        "breaker_tend_interval": 10,
        "breaker_tend_queue": "agent",
        "breaker_bus": False,
        "breaker_metrics_port": 9100,
        "breaker_metrics_address": "127.0.0.1",
        "breaker_opentelemetry": True,
    }
    assert Settings.from_conf(conf) == Settings(
        breakers={"smtp": {"max_failures": 3}},
        store="redis://localhost",
        store_options={"username": "shop"},
        store_prefix="shop",
        store_timeout=0.5,
        refresh_interval=2,
        tend_interval=10,
        tend_queue="agent",
        bus=False,
        metrics_port=9100,
        metrics_address="127.0.0.1",
        opentelemetry=True,
    )


@pytest.mark.parametrize("port", [0, -1, 65536, "9100", True, 1.5])
def test_a_port_that_is_none_is_refused(port: object) -> None:
    with pytest.raises(ConfigurationError, match=r"breaker_metrics_port=.* must be a port"):
        Settings.from_conf({"breaker_metrics_port": port})


@pytest.mark.parametrize("name", ["breaker_store_timeout", "breaker_refresh_interval", "breaker_tend_interval"])
@pytest.mark.parametrize("value", [0, -1, None, "1", True, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}=.* must be a number of seconds above 0"):
        Settings.from_conf({name: value})


@pytest.mark.parametrize("name", ["breaker_bus", "breaker_opentelemetry"])
@pytest.mark.parametrize("value", ["false", 0, None])
def test_a_switch_is_on_or_off_and_no_word_for_it(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}=.* must be True or False"):
        Settings.from_conf({name: value})


@pytest.mark.parametrize("value", [None, 5, b"shop"])
def test_a_prefix_that_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"breaker_store_prefix=.* must be a text"):
        Settings.from_conf({"breaker_store_prefix": value})


@pytest.mark.parametrize("value", [["smtp"], "smtp", 5, {"smtp": 3}, {"smtp": None}])
def test_breakers_that_map_no_names_to_options_are_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match="breakers must map names to options"):
        Settings.from_conf({"breakers": value})


@pytest.mark.parametrize("value", [None, {}])
def test_no_breakers_are_fine(value: Any) -> None:
    assert Settings.from_conf({"breakers": value}).breakers == {}


def test_a_store_that_is_no_url_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="breaker_store is int; it must be a URL, or None to derive one"):
        Settings.from_conf({"breaker_store": 5})


@pytest.mark.parametrize("value", ["master_name", 5, ["a"]])
def test_options_of_a_store_that_map_nothing_are_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match="breaker_store_options must map names to values"):
        Settings.from_conf({"breaker_store_options": value})


def test_the_representation_of_settings_shows_no_store_and_no_options() -> None:
    settings = Settings(store="redis://:hunter2@db", store_options={"password": "hunter3"})
    assert "hunter" not in repr(settings)


def test_an_unknown_setting_names_the_nearest_known_one() -> None:
    with pytest.raises(ConfigurationError, match="'breaker_tend_intervall'; did you mean 'breaker_tend_interval'"):
        Settings.from_conf({"breaker_tend_intervall": 3})
