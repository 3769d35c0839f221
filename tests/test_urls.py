"""URLs as they may be shown: whatever lets others in stays out."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.settings.urls import redacted, scheme_of, secrets_in, servers_of, shown


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("redis://db:6379/0", "redis://db:6379/0"),
        ("redis://:pw@db:6379/0", "redis://db:6379/0"),
        ("redis://user:pw@db", "redis://db"),
        ("rediss://db/0?password=pw&ssl_cert_reqs=none", "rediss://db/0"),
        ("redis://db/0?password=a@b", "redis://db/0"),
        ("redis://:p#w@db/0", "redis://db/0"),
        ("redis://:p/w@db/0", "redis://db/0"),
        ("redis://:p@w@db/0", "redis://db/0"),
        ("redis://:p?w@db/0", "redis://**"),
        ("redis://user:pw@db:port/0", "redis://db:port/0"),
        ("sentinel://:p;w@a:1;sentinel://:q@b:2/0", "sentinel://a:1;sentinel://b:2/0"),
        ("sentinel://:pw@a:1;b:2/0", "sentinel://a:1;b:2/0"),
        ("memcached://a:1,b:2", "memcached://a:1,b:2"),
        ("cache+memcached://a:1;b:2/", "cache+memcached://a:1;b:2/"),
        ("unix:///run/redis.sock?password=pw", "unix:///run/redis.sock"),
        ("unix://user:pw@/run/redis.sock", "unix:///run/redis.sock"),
        ("sqlite:////data/me@home.db", "sqlite:////data/me@home.db"),
        ("db+postgresql+psycopg://u:pw@db:5432/app?sslmode=require", "db+postgresql+psycopg://db:5432/app"),
        ("mysql://u:pw@db/app", "mysql://db/app"),
        ("django-db://", "django-db://"),
        ("pw", "**"),
        ("u:pw@db", "**"),
        ("", ""),
    ],
)
def test_what_is_shown_of_a_url(url: str, seen: str) -> None:
    assert shown(url) == seen


SCHEMES = [
    *("redis", "rediss", "unix", "sentinel", "redis+cluster", "rediss+cluster", "valkey", "valkeys", "redis+socket"),
    *("db+postgresql", "postgresql+psycopg", "mysql+pymysql", "mariadb", "memcached", "cache+memcached", "amqp"),
]


@given(st.sampled_from(SCHEMES), st.text(max_size=5), st.text(max_size=5), st.sampled_from(["user", "bare", "query"]))
def test_a_password_is_never_shown_whatever_is_in_it(scheme: str, before: str, after: str, where: str) -> None:
    password = f"{before}S3CRET{after}"
    escaped = quote(password, safe="")
    url = {
        "user": f"{scheme}://user:{escaped}@db:1/0",
        "bare": f"{scheme}://user:{password}@db:1/0",
        "query": f"{scheme}://db:1/0?password={escaped}",
    }[where]
    assert "S3CRET" not in shown(url)
    said = password if where == "bare" else f"{password} {escaped}"
    assert "S3CRET" not in redacted(f"cannot parse {said} in {url}", url)


@given(st.text(alphabet="ab:@/?#;%=& ", max_size=30))
def test_no_text_is_too_odd(text: str) -> None:
    shown(f"redis://{text}")
    redacted(text, f"redis://{text}", text)
    servers_of(text)


@pytest.mark.parametrize(
    "parameter", ["password", "sentinel_password", "passwd", "pwd", "secret_key", "api_key", "token"]
)
def test_parameters_that_let_one_in_are_secrets(parameter: str) -> None:
    assert "hunter2" in secrets_in(f"redis://db?{parameter}=hunter2")


def test_parameters_that_do_not_are_not() -> None:
    assert secrets_in("redis://db/0?ssl_cert_reqs=required&socket_timeout=3") == []


@pytest.mark.parametrize("said", ["'p%40ss'", "'p@ss'", "user:p%40ss", "redis://user:p%40ss@db"])
def test_every_spelling_of_a_password_is_redacted(said: str) -> None:
    text = redacted(f"bad {said} here", "redis://user:p%40ss@db", None, "")
    assert "p%40ss" not in text
    assert "p@ss" not in text
    assert text.startswith("bad ")


@pytest.mark.parametrize(
    ("url", "scheme"),
    [("Redis://db", "redis"), ("db+mysql://", "db+mysql"), ("redis", ""), ("://", ""), ("u:p@r://x", ""), ("", "")],
)
def test_the_scheme_is_what_stands_before_the_slashes(url: str, scheme: str) -> None:
    assert scheme_of(url) == scheme
