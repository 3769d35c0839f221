from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import containers, limits, servers
from tests.support.processes import Process, free_port, share_of_ports
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


def test_what_takes_too_long_is_found_even_where_it_ends_in_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SLACK", 0.0)
    with pytest.raises(AssertionError, match="took"), pytest.raises(KeyError), limits.at_most(0.0):
        raise KeyError


def test_a_time_limit_strikes_once_and_leaves_the_alarm_of_others_as_it_was() -> None:
    before = signal.getitimer(signal.ITIMER_REAL)[0]
    with pytest.raises(KeyError), limits.raised_after(0.01, KeyError):
        threading.Event().wait(20)
    assert (signal.getitimer(signal.ITIMER_REAL)[0] > 0) is (before > 0)


def test_no_port_is_given_out_twice_in_a_row_and_each_process_of_a_run_has_its_own() -> None:
    ports = [free_port() for _ in range(20)]
    assert len(set(ports)) == 20
    shares = [share_of_ports(number, 3) for number in range(3)]
    assert all(set(one).isdisjoint(other) for one, other in itertools.combinations(shares, 2))


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


def test_where_an_image_is_named_a_node_runs_its_command_in_a_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(containers, "_IMAGE", "")
    assert containers.node_of(Process) is Process
    monkeypatch.setattr(containers, "_IMAGE", "of-debian")
    argv, env = [sys.executable, "-m", "celery"], {**os.environ, "OUTAGE": "soon"}
    node = containers.node_of(Process)(argv, name="worker", log=tmp_path / "log", env=env, cwd=tmp_path)
    words = list(node._command())
    assert words[:3] == ["docker", "run", "--rm"]
    assert words[-4:] == ["of-debian", "python3", "-m", "celery"], "the image's own Python"
    assert f"{tmp_path}:{tmp_path}" in words
    assert "OUTAGE=soon" in words
    assert not any(word.startswith("PATH=") for word in words), "nor is it told what the machine's environment says"
