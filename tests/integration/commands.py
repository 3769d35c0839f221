"""The command line of an app, each command a process."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.support.servers import RedisServer
from tests.support.workers import WorkerFactory


class Commands:
    """``celery breaker`` with some settings."""

    def __init__(self, command: Callable[..., subprocess.CompletedProcess[str]], conf: Mapping[str, Any]) -> None:
        self._command = command
        self.conf = conf

    def __call__(self, *args: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        return self._command("breaker", *args, conf=self.conf, stdin=answer)

    def json(self, *args: str) -> Any:
        return json.loads(self(*args, "--json").stdout)


@pytest.fixture
def commands(
    celery_command: Callable[..., subprocess.CompletedProcess[str]],
    worker_factory: WorkerFactory,
    redis_server: RedisServer,
) -> Callable[..., Commands]:
    """`commands(**conf)` → the command line of an app whose settings alone put all its tasks behind ``svc``."""

    def make(**conf: Any) -> Commands:
        with redis_server.client(2) as client:
            client.flushdb()
        ours = {"breakers": {"svc": {"tasks": ["tests.*"]}}, "breaker_store": redis_server.url_for(2)}
        return Commands(celery_command, worker_factory.settings(conf={**ours, **conf}))

    return make
