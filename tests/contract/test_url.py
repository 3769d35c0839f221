"""From a URL to a store."""

from __future__ import annotations

import sys

import pytest

from celery_breaker.errors import ConfigurationError
from celery_breaker.stores.memory import MemoryStore
from celery_breaker.stores.redis import RedisStore
from celery_breaker.stores.url import open_store


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("memory://", MemoryStore),
        ("redis://127.0.0.1:1/0", RedisStore),
        ("rediss://127.0.0.1:1/0", RedisStore),
        ("unix:///nowhere/redis.sock", RedisStore),
    ],
)
def test_a_url_names_a_store_which_need_not_be_there(url: str, kind: type) -> None:
    assert isinstance(open_store(url), kind)


@pytest.mark.parametrize("url", ["", "redis", "amqp://localhost", "://", "REDIS"])
def test_an_unknown_scheme_lists_those_there_are(url: str) -> None:
    with pytest.raises(ConfigurationError, match="use one of memory://, redis://, rediss://, unix://"):
        open_store(url)


@pytest.mark.parametrize("url", ["redis://host:port/0", "redis://[::1", "redis://localhost/0?socket_timeout=soon"])
def test_a_url_that_cannot_be_read_is_refused_in_words(url: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be understood as a redis:// URL"):
        open_store(url)


def test_a_refusal_shows_no_credentials() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        open_store("redis://user:secret@host:port/0")
    assert "secret" not in str(refusal.value)


def test_without_the_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "celery_breaker.stores.redis")
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'celery-breaker\[redis\]'"):
        open_store("redis://localhost")
    assert isinstance(open_store("memory://"), MemoryStore)


def test_a_path_that_is_no_database_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ends in 'notadb', and not in the number of a database"):
        open_store("redis://localhost:6379/notadb")
