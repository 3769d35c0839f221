"""Brokers and workers for tests, each worker a process of its own, or under `make test-docker` a container.

Fixtures:

`make_broker(kind)`
    A clean `Broker` on `"redis"`, `"rabbitmq"`, `"sqs"` or `"filesystem"`. Redis is flushed, RabbitMQ gives a fresh
    virtual host, SQS forgets its queues, the file system gives a fresh folder.
`worker_factory(...)`
    Starts a worker and returns it when it takes tasks. See `WorkerFactory.__call__` for the options.
`celery_command(*args, ...)`
    Runs `celery -A … args` to its end, for tests of the command line.
`beat_factory(...)`
    Starts a beat.
`audit`
    A file which tasks append lines to: `tests.record` and the like take `audit.path`.

A failing test shows the end of the log of every worker it started.
"""

from __future__ import annotations

import collections
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.containers import node_of
from tests.support.processes import Process
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from celery import Celery

    from tests.support.servers import RabbitMQServer, RedisServer
    from tests.support.servers_sqs import SQSServer

ROOT = Path(__file__).parent.parent.parent
APP = "tests.integration.app:app"
READY_TIMEOUT = 60.0

_numbers = itertools.count(1)
_processes = pytest.StashKey[list[Process]]()


@dataclass(frozen=True)
class Broker:
    """A clean place for messages. `conf` is all that an app must be told of it; `server` is what one could stop."""

    kind: str
    conf: Mapping[str, Any]
    server: RedisServer | RabbitMQServer | SQSServer | None = None

    @property
    def url(self) -> str:
        return str(self.conf["broker_url"])


class Worker(Process):
    """A Celery worker. See `Process` for `pid`, `logs()`, `wait_for_log()`, `signal()`, `pause()` and `stop()`.

    `stop()` is a warm shutdown, `kill()` SIGKILLs main and pool processes at once.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        name: str,
        hostname: str,
        conf: Mapping[str, Any],
        folder: Path,
        env: Mapping[str, str],
        app_maker: Callable[[Mapping[str, Any]], Celery],
    ) -> None:
        from tests.integration.app import READY_VARIABLE

        self.hostname = hostname
        self.conf = conf
        self._ready = folder / f"{name}.ready"
        self._app_maker = app_maker
        env = {**env, READY_VARIABLE: str(self._ready)}
        super().__init__(argv, name=name, log=folder / f"{name}.log", env=env, cwd=folder)

    @cached_property
    def app(self) -> Celery:
        """An app of the same settings in the test's process, made current: `tasks.add.delay(…)` reaches the worker."""
        return self._app_maker(self.conf)

    @property
    def ready(self) -> bool:
        if not self.running:
            raise RuntimeError(f"{self.name} ended with {self.returncode}:\n{self.tail()}")
        return self._ready.exists()

    def start(self) -> None:
        """Start without waiting; `wait_ready` waits."""
        self._ready.unlink(missing_ok=True)
        super().start()

    def wait_ready(self, timeout: float = READY_TIMEOUT) -> None:
        """Wait until it takes tasks. Raises `RuntimeError` with its log if it ends instead."""
        eventually(lambda: self.ready, lambda: f"{self.name} should be ready:\n{self.tail()}", timeout=timeout)

    def pool_pids(self) -> list[int]:
        """The pids of its child processes (prefork: the pool), ascending."""
        import psutil

        return sorted(child.pid for child in psutil.Process(self.pid).children())


@dataclass
class Audit:
    """Lines that tasks appended, in order."""

    path: str

    def lines(self) -> list[str]:
        file = Path(self.path)
        return file.read_text().splitlines() if file.exists() else []

    def counts(self) -> collections.Counter[str]:
        return collections.Counter(self.lines())

    def wait_for(self, number: int, *, timeout: float = 30.0) -> list[str]:
        """Wait for at least `number` lines; return them all."""
        eventually(
            lambda: len(self.lines()) >= number,
            lambda: f"{number} audit lines expected, {len(self.lines())} found",
            timeout=timeout,
        )
        return self.lines()


def environment(conf: Mapping[str, Any], extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a Celery process that runs `APP` with `conf` (which must be JSON)."""
    from tests.integration.app import CONF_VARIABLE

    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "CELERY_", "COV_"))}
    env |= {
        CONF_VARIABLE: json.dumps(dict(conf)),
        "PYTHONPATH": str(ROOT),  # for the tests' own modules; the package comes from site-packages
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return env | dict(extra or {})


def celery_argv(*args: str, app: str = APP) -> list[str]:
    return [sys.executable, "-m", "celery", "-A", app, *args]


def new_worker(
    *,
    conf: Mapping[str, Any],
    folder: Path,
    env: Mapping[str, str],
    app_maker: Callable[[Mapping[str, Any]], Celery],
    app: str = APP,
    **options: Any,
) -> Worker:
    """A worker that is still to be started; the caller kills it. `options` are those of `worker_argv`."""
    name = f"worker-{next(_numbers)}"
    hostname = f"{name}@localhost"
    argv = worker_argv(hostname=hostname, app=app, **options)
    return node_of(Worker)(argv, name=name, hostname=hostname, conf=conf, folder=folder, env=env, app_maker=app_maker)


def worker_argv(
    *, pool: str, concurrency: int, queues: Sequence[str], hostname: str, loglevel: str, args: Sequence[str], app: str
) -> list[str]:
    argv = celery_argv("worker", "--pool", pool, "--hostname", hostname, "--loglevel", loglevel, app=app)
    argv += ["--concurrency", str(concurrency)]
    if queues:
        argv += ["--queues", ",".join(queues)]
    return [*argv, *args]


def track(request: pytest.FixtureRequest, process: Process) -> None:
    """Have the end of the process's log shown if the test fails."""
    request.node.stash.setdefault(_processes, []).append(process)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.failed:
        for process in item.stash.get(_processes, []):
            report.sections.append((f"log of {process.name}", process.tail(80)))
    return report


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return Audit(str(tmp_path / "audit.txt"))


@pytest.fixture
def make_app() -> Iterator[Callable[[Mapping[str, Any]], Celery]]:
    """`make_app(conf)` → the tests' app with `conf`, current until the test ends."""
    from celery import _state

    from celery_breaker.plugin.app import breakers_of
    from tests.integration.app import create_app

    apps: list[Celery] = []
    before = _state._tls.current_app

    def make(conf: Mapping[str, Any]) -> Celery:
        app = create_app(dict(conf))
        apps.append(app)
        return app

    yield make
    for app in reversed(apps):
        breakers_of(app).forget()
        app.close()
    _state._tls.current_app = before


@pytest.fixture
def make_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Broker]]:
    with ExitStack() as stack:

        def make(kind: str) -> Broker:
            if kind == "redis":
                redis_server: RedisServer = request.getfixturevalue("redis_server")
                with redis_server.client() as client:
                    client.flushall()
                return Broker(kind, {"broker_url": redis_server.url_for(0)}, redis_server)
            if kind == "rabbitmq":
                rabbitmq_server: RabbitMQServer = request.getfixturevalue("rabbitmq_server")
                vhost = f"test-{next(_numbers)}"
                url = rabbitmq_server.add_vhost(vhost)
                stack.callback(rabbitmq_server.drop_vhost, vhost)
                return Broker(kind, {"broker_url": url}, rabbitmq_server)
            if kind == "sqs":
                sqs_server: SQSServer = request.getfixturevalue("sqs_server")
                sqs_server.reset()
                return Broker(kind, sqs_server.conf(), sqs_server)
            if kind == "filesystem":
                folder = tmp_path / f"broker-{next(_numbers)}"
                options = {f"{key}_folder": str(folder / key) for key in ("control", "processed")}
                options |= {f"data_folder_{way}": str(folder / "data") for way in ("in", "out")}
                for path in options.values():
                    Path(path).mkdir(parents=True, exist_ok=True)
                return Broker(kind, {"broker_url": "filesystem://", "broker_transport_options": options})
            raise ValueError(f"no such broker: {kind!r}")

        yield make


@dataclass
class WorkerFactory:
    request: pytest.FixtureRequest
    folder: Path
    stack: ExitStack
    brokers: dict[str, Broker] = field(default_factory=dict)

    def __call__(
        self,
        *,
        broker: str | Broker = "redis",
        backend: str | None = "redis",
        pool: str = "prefork",
        concurrency: int = 1,
        queues: Sequence[str] = (),
        conf: Mapping[str, Any] | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        loglevel: str = "INFO",
        app: str = APP,
        wait: bool = True,
    ) -> Worker:
        """Start a worker.

        `broker`: `"redis"`, `"rabbitmq"`, `"sqs"`, `"filesystem"` (one for all calls of a test), or a `Broker`.
        `backend`: `"redis"`, None for no results, or a URL. `conf`: further settings, JSON values only; they win.
        `args`: further arguments of `celery worker`, such as `"-B"`. `wait=False` returns at once: use it, then
        `wait_ready()`, to start several workers side by side.
        """
        settings = self.settings(broker=broker, backend=backend, conf=conf)
        worker = new_worker(
            conf=settings,
            folder=self.folder,
            env=environment(settings, env),
            app_maker=self.request.getfixturevalue("make_app"),
            app=app,
            pool=pool,
            concurrency=concurrency,
            queues=queues,
            loglevel=loglevel,
            args=["--without-mingle", *args],  # which waits a second for the answers of others, of whom there are few
        )
        self.keep(worker)
        worker.start()
        if wait:
            worker.wait_ready()
        return worker

    def settings(
        self,
        *,
        broker: str | Broker = "redis",
        backend: str | None = "redis",
        conf: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The settings that a worker of these options would get."""
        if isinstance(broker, str):
            if broker not in self.brokers:
                self.brokers[broker] = self.request.getfixturevalue("make_broker")(broker)
            broker = self.brokers[broker]
        settings = dict(broker.conf)
        if backend == "redis":
            server: RedisServer = self.request.getfixturevalue("redis_server")
            settings["result_backend"] = server.url_for(1)
        elif backend is not None:
            settings["result_backend"] = backend
        return {**settings, **(conf or {})}

    def keep(self, process: Process) -> None:
        """End `process` with the test, and show its log if the test fails."""
        track(self.request, process)
        self.stack.callback(process.kill)


@pytest.fixture
def worker_factory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WorkerFactory]:
    request.getfixturevalue("make_app")  # before the stack, so that apps outlive workers
    request.getfixturevalue("make_broker")
    with ExitStack() as stack:
        yield WorkerFactory(request, tmp_path, stack)


@pytest.fixture
def beat_factory(worker_factory: WorkerFactory, tmp_path: Path) -> Callable[..., Process]:
    """`beat_factory(conf, *args)` → a running beat with these settings (those of a worker: `worker.conf`)."""

    def make(conf: Mapping[str, Any], *args: str, app: str = APP, env: Mapping[str, str] | None = None) -> Process:
        name = f"beat-{next(_numbers)}"
        argv = celery_argv("beat", "--loglevel", "INFO", "--schedule", str(tmp_path / f"{name}.db"), *args, app=app)
        beat = node_of(Process)(argv, name=name, log=tmp_path / f"{name}.log", env=environment(conf, env), cwd=tmp_path)
        worker_factory.keep(beat)
        beat.start()
        beat.wait_for_log(r"beat: Starting", timeout=READY_TIMEOUT)
        return beat

    return make


@pytest.fixture
def celery_command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`celery_command(*args, conf=…, stdin="")` → the finished `celery -A … args`, its output as text."""

    def run(
        *args: str, conf: Mapping[str, Any], stdin: str = "", timeout: float = 60.0, app: str = APP
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            celery_argv(*args, app=app),
            env=environment(conf),
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
