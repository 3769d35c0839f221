"""From a URL to a store."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import pytest

from celery_breaker.errors import ConfigurationError, StoreError
from celery_breaker.stores import redis_urls
from celery_breaker.stores.memory import MemoryStore
from celery_breaker.stores.message import MessageStore
from celery_breaker.stores.redis import RedisStore
from celery_breaker.stores.url import SCHEMES, kind_of, open_store

NOWHERE = "127.0.0.1:1"

URLS = {
    "memory://": "memory",
    "message://": "message",
    f"redis://{NOWHERE}/0": "redis",
    f"rediss://{NOWHERE}/0": "redis",
    "unix:///nowhere/redis.sock": "redis",
    "redis+socket:///nowhere/redis.sock?virtual_host=1": "redis",
    f"sentinel://{NOWHERE};sentinel://127.0.0.1:2/0?master_name=m": "redis",
    f"redis+cluster://{NOWHERE}": "redis",
    f"rediss+cluster://{NOWHERE}": "redis",
    f"valkey://{NOWHERE}/0": "redis",
    f"valkeys://{NOWHERE}/0": "redis",
    f"db+postgresql+psycopg://u@{NOWHERE}/d": "sql",
    f"postgresql+psycopg://u@{NOWHERE}/d": "sql",
    f"mysql+pymysql://u@{NOWHERE}/d": "sql",
    f"mariadb+pymysql://u@{NOWHERE}/d": "sql",
    "db+sqlite:////nowhere/at/all.db": "sql",
    "sqlite:////nowhere/at/all.db": "sql",
    f"memcached://{NOWHERE},127.0.0.1:2": "memcached",
    f"cache+memcached://{NOWHERE};127.0.0.1:2/": "memcached",
    f"cache+pymemcache://{NOWHERE}/": "memcached",
}


@pytest.mark.parametrize(("url", "kind"), URLS.items(), ids=lambda value: value.partition("?")[0])
def test_a_url_names_a_store_which_need_not_be_there(url: str, kind: str) -> None:
    store = open_store(url)
    assert kind_of(url) == kind
    assert store.url
    store.close()


@pytest.mark.parametrize(
    ("url", "kind"), [("memory://", MemoryStore), ("message://", MessageStore), (f"valkey://{NOWHERE}", RedisStore)]
)
def test_each_kind_has_its_class(url: str, kind: type) -> None:
    assert isinstance(open_store(url), kind)


@pytest.mark.parametrize("url", ["", "redis", "://", "REDIS", "127.0.0.1:6379"])
def test_what_is_no_url_is_told_what_a_url_begins_with(url: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"must be a URL that begins with one of memory://, message://, redis://"
    ):
        open_store(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("reddis://localhost", "did you mean 'redis'"),
        ("sqllite:///x.db", "did you mean 'sqlite'"),
        ("postgres://localhost/x", "did you mean 'postgresql'"),
        ("memcache+d://localhost", "did you mean 'memcached'"),
        ("amqp://localhost", "known are memory, message, redis"),
        ("cache+memory://", "unknown scheme 'cache+memory'"),
    ],
)
def test_an_unknown_scheme_names_the_nearest_or_all(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match="unknown scheme") as refusal:
        open_store(url)
    assert said in str(refusal.value)


@pytest.mark.parametrize("url", ["redis://host:port/0", "redis://[::1", "redis://localhost/0?socket_timeout=soon"])
def test_a_url_that_cannot_be_read_is_refused_in_words(url: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be understood as a redis:// URL"):
        open_store(url)


def test_a_path_that_is_no_database_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ends in 'notadb', and not in the number of a database"):
        open_store("redis://localhost:6379/notadb")


@pytest.mark.parametrize("url", ["memory://", "message://", f"memcached://{NOWHERE}", "sqlite:////nowhere.db"])
def test_an_option_that_a_store_does_not_take_is_named(url: str) -> None:
    with pytest.raises(ConfigurationError, match="breaker_store_options has 'mastername'"):
        open_store(url, options={"mastername": "m"})


def test_an_option_that_redis_does_not_take_is_named() -> None:
    with pytest.raises(ConfigurationError, match="mastername"):
        open_store(f"redis://{NOWHERE}", options={"mastername": "m"})


# --- drivers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "module", "driver", "extra"),
    [
        (f"redis://{NOWHERE}", "redis", "redis", "redis"),
        (f"sentinel://{NOWHERE}?master_name=m", "redis", "redis", "redis"),
        ("sqlite:////nowhere.db", "sqlalchemy", "sqlalchemy", "sqlalchemy"),
        (f"memcached://{NOWHERE}", "memcached", "pymemcache", "memcached"),
        ("django-db://", "django", "django", "django"),
    ],
)
def test_without_the_driver_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, url: str, module: str, driver: str, extra: str
) -> None:
    for name in [name for name in sys.modules if name.startswith((f"celery_breaker.stores.{module}", f"{driver}."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(ConfigurationError, match=rf"pip install 'celery-breaker\[{extra}\]'"):
        open_store(url)
    assert isinstance(open_store("memory://"), MemoryStore)


def test_without_a_database_s_own_driver_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(ConfigurationError, match="pymysql") as refusal:
        open_store(f"mysql+pymysql://u:hunter2@{NOWHERE}/d")
    assert "pip install" in str(refusal.value)


# --- secrets ----------------------------------------------------------------------------------------------------------

PASSWORDS = ["hunter2", "hun%40ter2%2F", "hunter2?x", "hunter2#x", "hunter2/x", "hunter2;x"]
SPELLINGS = ("hunter2", "hun%40ter2", "hun@ter2")


def spelled_in(text: Any) -> list[str]:
    return [spelling for spelling in SPELLINGS if spelling in str(text)]


def opened_and_used(url: str) -> None:
    store = open_store(url, timeout=0.1)
    assert not spelled_in([store.url, repr(store)])
    store.now()


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize(
    "url",
    [
        "redis://user:{}@127.0.0.1:1/0",
        "rediss://:{}@127.0.0.1:1/0",
        "unix://user:{}@/nowhere/redis.sock",
        "valkey://:{}@127.0.0.1:1/0",
        "valkeys://:{}@127.0.0.1:1/0",
        "sentinel://:{}@127.0.0.1:1/0?master_name=m",
        "redis+cluster://:{}@127.0.0.1:1",
        "rediss+cluster://:{}@127.0.0.1:1",
        "db+postgresql+psycopg://user:{}@127.0.0.1:1/d",
        "mysql+pymysql://user:{}@127.0.0.1:1/d",
        "mariadb+pymysql://user:{}@127.0.0.1:1/d",
        "memcached://user:{}@127.0.0.1:1",
        "cache+memcached://user:{}@127.0.0.1:1/",
        "django-db://user:{}@x",
        "redis://127.0.0.1:1/0?password={}",
        "unix:///nowhere/redis.sock?password={}",
        "mysql+pymysql://127.0.0.1:1/d?password={}",
        # wrong in one way or another
        "redis://user:{}@127.0.0.1:port/0",
        "redis://user:{}@127.0.0.1:1/notadb",
        "redis://user:{}@127.0.0.1:1/0?socket_timeout=soon",
        "redis://user:{}@[::1",
        "sentinel://:{}@127.0.0.1:1/0",
        "redis+cluster://:{}@127.0.0.1:1/7",
        "postgresql+psycopg://user:{}@127.0.0.1:port/d",
        "postgresql+nobody://user:{}@127.0.0.1/d",
        "db+nobody://user:{}@127.0.0.1/d",
        "mysql://user:{}@[::1/d",
        "memcached://user:{}@127.0.0.1:port",
        "reddis://user:{}@127.0.0.1",
        "user:{}@127.0.0.1",
    ],
)
def test_no_password_comes_out_of_a_store_or_a_refusal(
    url: str, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises((ConfigurationError, StoreError)) as failure:  # the one at once, or the other when it is used
        opened_and_used(url.format(password))
    assert not spelled_in(failure.value)
    assert "\n" not in str(failure.value)
    assert not spelled_in("".join(traceback.format_exception(failure.value))), "not in what it came from, either"
    assert not spelled_in(caplog.text)


def test_a_driver_that_quotes_the_url_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def quoting(_self: object, url: str, **_: object) -> None:
        raise ValueError(f"cannot parse {url!r}\nnor hun@ter2")

    monkeypatch.setattr(RedisStore, "__init__", quoting)
    with pytest.raises(ConfigurationError, match=r"cannot parse 'redis://db/0'$") as refusal:
        open_store("redis://u:hun%40ter2@db/0")
    assert not spelled_in(refusal.value)


def test_every_scheme_there_is_can_be_spelled() -> None:
    assert {kind_of(f"{scheme}://") for scheme in redis_urls.SCHEMES} == {"redis"}
    assert {kind_of(f"{scheme.replace('…', 'oracle')}://") for scheme in SCHEMES} == {
        *("memory", "message", "redis", "sql", "django", "memcached")
    }
