from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.support import servers
from tests.support.servers import RedisServer
from tests.support.waiting import eventually


def test_eventually_returns_what_the_condition_found() -> None:
    found = iter([None, 0, "yes"])
    assert eventually(lambda: next(found), timeout=5, interval=0) == "yes"


def test_eventually_says_what_it_waited_for() -> None:
    with pytest.raises(AssertionError, match=r"not within 0 s: the moon \(last: None\)"):
        eventually(lambda: None, "the moon", timeout=0)


def test_eventually_takes_a_failing_assertion_for_not_yet() -> None:
    answers: Iterator[int] = iter([1, 2, 3])

    def third() -> bool:
        assert next(answers) == 3
        return True

    assert eventually(third, timeout=5, interval=0)


def test_a_missing_server_is_a_skip_and_in_ci_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BREAKER_REQUIRE_SERVERS", "")
    with pytest.raises(pytest.skip.Exception, match="is not installed"):
        servers.missing("mongrel")
    monkeypatch.setenv("CELERY_BREAKER_REQUIRE_SERVERS", "1")
    with pytest.raises(pytest.fail.Exception, match="is not installed"):
        servers.missing("mongrel")


def test_redis_comes_back_with_its_data(make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis(appendonly=True)
    with server.client() as client:
        client.set("key", "value")
    assert server.stop() == 0
    server.start()
    with server.client() as client:
        assert client.get("key") == b"value"


def test_redis_ends_with_its_test(make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis()
    server.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)
