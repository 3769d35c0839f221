"""Which store was chosen, and why: said by a worker as it starts, and by `celery breaker doctor`."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.bin.base import CLIContext

from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.cli import breaker
from celery_breaker.plugin.worker.side import WorkerSide
from tests.support.commands import runner
from tests.support.servers import RedisServer
from tests.support.servers_memcached import MemcachedServer
from tests.support.workers import WorkerFactory

BREAKERS = {"svc": {"tasks": ["tests.*"]}}
DATABASE = "the results are in a database"


@pytest.fixture(params=["redis results", "redis broker", "database", "memcached", "nothing"])
def given(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[str, Any], str, str]:
    """What Celery is given, and the URL and the reason that follow."""
    kind = request.param
    if kind.startswith("redis"):
        redis: RedisServer = request.getfixturevalue("redis_server")
        if kind == "redis broker":
            return {"broker_url": redis.url_for(3)}, redis.url_for(3), "the broker is Redis"
        conf = {"broker_url": "memory://", "result_backend": redis.url_for(3)}
        return conf, redis.url_for(3), "the results backend is Redis"
    if kind == "database":
        url = f"sqlite:///{tmp_path / 'results.sqlite'}"
        return {"broker_url": "memory://", "result_backend": f"db+{url}"}, url, DATABASE
    if kind == "memcached":
        memcached: MemcachedServer = request.getfixturevalue("memcached_server")
        conf = {"broker_url": "memory://", "result_backend": f"cache+{memcached.url}/"}
        return conf, memcached.url, "the results are in memcached"
    return {"broker_url": "memory://"}, "message://", "workers tell each other"


def test_a_worker_and_the_doctor_say_which_and_why(
    make_app: Callable[[Mapping[str, Any]], Celery],
    given: tuple[dict[str, Any], str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    conf, url, why = given
    app = make_app({**conf, "breakers": BREAKERS})
    caplog.set_level(logging.INFO)
    side = WorkerSide(breakers_of(app), hostname="w1@localhost")
    side.start()
    [said] = [message for message in caplog.messages if "kept in" in message]
    assert f", kept in {url}: " in said
    assert why in said
    side.stop()
    side.close()
    context = CLIContext(app=app, no_color=False, workdir=None)
    done = runner().invoke(breaker, ["doctor", "--wait", "0.1", "--json"], obj=context, catch_exceptions=False)
    store = json.loads(done.stdout)["store"]
    assert store["url"].removeprefix("db+").rstrip("/") == url.rstrip("/")
    assert why in store["why"]


def test_a_worker_process_and_a_doctor_of_its_own_say_the_same(
    worker_factory: WorkerFactory, celery_command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    backend = f"db+sqlite:///{tmp_path / 'results.sqlite'}"
    worker = worker_factory(broker="filesystem", backend=backend, pool="solo", conf={"breakers": BREAKERS})
    worker.wait_for_log(rf"breakers of \d+ tasks, kept in sqlite:///.*results\.sqlite: {DATABASE}")
    done = celery_command("breaker", "doctor", "--wait", "0.2", conf=worker.conf)
    assert f"({DATABASE})" in done.stdout, done.stderr
