"""pytest-celery's `celery_setup` on the nodes of our own tests: local processes, without a Docker engine.

A test (or a module, with `pytestmark`) says what it runs on:

    @pytest.mark.fleet(brokers=["redis", "rabbitmq"], pools=["prefork"], workers=2, conf={"task_acks_late": True})
    def test_something(celery_setup: CeleryTestSetup) -> None:
        assert add.delay(1, 2).get(timeout=10) == 3
        celery_setup.worker.container.pid            # of the worker's main process
        celery_setup.worker.kill(); celery_setup.worker.restart()
        celery_setup.worker_cluster[1].wait_for_log("…")

Options, each with its default: `brokers` (both; the test runs once for each), `pools` (`["prefork"]`; likewise),
`backend` (`"redis"`, or None), `workers` (1), `concurrency` (2), `queues` (`["celery"]`), `conf`, `args` and `env`
(empty). Those of a test's own marker win over the module's.

`celery_setup.broker` is a Redis of the test's own, or a virtual host in the session's RabbitMQ (then its `kill` and
`restart` concern the whole server, so put it back). Otherwise everything is as pytest-celery documents it, and each
of its fixtures can be overridden further.

Under `make test-docker`, all of them are containers instead, see `tests.support.containers`.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from pytest_celery import (  # the fixtures among these work as they are
    CeleryBackendCluster,
    CeleryBrokerCluster,
    CeleryTestSetup,
    CeleryTestWorker,
    CeleryWorkerCluster,
    CeleryWorkerContainer,
    RabbitMQContainer,
    RedisContainer,
    celery_broker_cluster,
    celery_rabbitmq_broker,
    celery_redis_backend,
    celery_redis_broker,
    celery_setup,
    celery_setup_app,
    celery_setup_name,
    celery_setup_worker,
    celery_worker_cluster_config,
    default_worker_app,
)

from tests.support.processes import Process
from tests.support.servers import RabbitMQServer, RedisServer, rabbitmq_executables
from tests.support.workers import Worker, environment, new_worker, track

_numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """What the `fleet` marker says."""

    brokers: Sequence[str] = ("redis", "rabbitmq")
    pools: Sequence[str] = ("prefork",)
    backend: str | None = "redis"
    workers: int = 1
    concurrency: int = 2
    queues: Sequence[str] = ("celery",)
    conf: Mapping[str, Any] = field(default_factory=dict)
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, node: Any) -> Fleet:
        fleet = cls()
        for marker in reversed(list(node.iter_markers("fleet"))):
            fleet = replace(fleet, **marker.kwargs)
        return fleet


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    fleet = Fleet.of(metafunc.definition)
    if "celery_broker" in metafunc.fixturenames:
        metafunc.parametrize("celery_broker", fleet.brokers, indirect=True)
    if "celery_pool" in metafunc.fixturenames:
        metafunc.parametrize("celery_pool", fleet.pools, indirect=True)


class ProcessContainer:
    """A `Process` in the place of docker-py's `Container`: the part of it that pytest-celery and docker-tools call."""

    def __init__(self, process: Process, *, hostname: str, ports: Mapping[str, int]) -> None:
        self.process = process
        self.id = f"{next(_numbers):012x}"
        self.name = process.name
        self.attrs: dict[str, Any] = {
            "Config": {"Hostname": hostname, "Env": [f"{key}={value}" for key, value in (process.env or {}).items()]},
            "HostConfig": {"PortBindings": {}},
            "NetworkSettings": {
                "Networks": {},
                "Ports": {inner: [{"HostIp": "127.0.0.1", "HostPort": str(port)}] for inner, port in ports.items()},
            },
        }

    @property
    def status(self) -> str:
        return "running" if self.process.running else "exited"

    def reload(self) -> None:
        """There is nothing to fetch: `status` is asked each time."""

    def logs(self) -> bytes:
        return self.process.logs().encode()

    def kill(self, signal: str | int | None = None) -> None:
        signum = _signal(signal)
        if signum == _KILL:
            self.process.kill()
        else:
            self.process.signal(signum)

    def restart(self, timeout: float = 10) -> None:
        self.process.stop(timeout)
        self.process.start()


_KILL = signal.SIGKILL


def _signal(name: str | int | None) -> int:
    if name is None:
        return _KILL
    if isinstance(name, int):
        return name
    return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]


class LocalNode:
    """For pytest-celery's container classes: what differs for a `Process` of ours, on the machine's network."""

    _container: ProcessContainer

    @property
    def process(self) -> Process:
        return self._container.process

    @property
    def pid(self) -> int:
        return self.process.pid

    def get_open_tcp_ports(self) -> list[str]:
        return [inner.partition("/")[0] for inner, port in self._ports().items() if _listens(port)]

    def get_addr(self, port: str) -> tuple[str, int]:
        return "127.0.0.1", self._ports()[port]

    def _ports(self) -> dict[str, int]:
        ports = self._container.attrs["NetworkSettings"]["Ports"]
        return {inner: int(bindings[0]["HostPort"]) for inner, bindings in ports.items()}


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0


class LocalRedis(LocalNode, RedisContainer):
    pass


class LocalRabbitMQ(LocalNode, RabbitMQContainer):
    own_vhost = "/"

    @property
    def vhost(self) -> str:
        return self.own_vhost

    @property
    def ready_prompt(self) -> None:
        return None  # the server is not told to log it; `start` waited for a handshake


class LocalWorker(LocalNode, CeleryWorkerContainer):
    def ready(self) -> bool:
        # Not by the log, where an earlier start may have left its "ready."
        assert isinstance(self.process, Worker)
        self.process.wait_ready()
        return True


class LocalTestWorker(CeleryTestWorker):
    container: LocalWorker

    @property
    def pid(self) -> int:
        return self.container.pid

    def hostname(self) -> str:
        assert isinstance(self.container.process, Worker)
        return self.container.process.hostname


class LocalTestSetup(CeleryTestSetup):
    @classmethod
    def create_setup_app(cls, celery_setup_config: dict[str, Any], celery_setup_app_name: str) -> Celery:
        from tests.integration.app import create_app

        app = create_app(celery_setup_config)
        cls.update_app_config(app)
        return app


@pytest.fixture
def fleet(request: pytest.FixtureRequest) -> Fleet:
    return Fleet.of(request.node)


@pytest.fixture
def celery_pool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def celery_broker(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"celery_{request.param}_broker")


@pytest.fixture
def celery_backend_cluster(request: pytest.FixtureRequest, fleet: Fleet) -> Iterator[CeleryBackendCluster | None]:
    if fleet.backend is None:
        yield None
        return
    cluster = CeleryBackendCluster(request.getfixturevalue(f"celery_{fleet.backend}_backend"))
    yield cluster
    cluster.teardown()


# pytest-celery's own two take a failure of the cluster for "use the in-memory broker"; here it stays a failure.
@pytest.fixture
def celery_broker_cluster_config(celery_broker_cluster: CeleryBrokerCluster) -> dict[str, Any]:
    config: dict[str, Any] = celery_broker_cluster.config()
    return config


@pytest.fixture
def celery_backend_cluster_config(celery_backend_cluster: CeleryBackendCluster | None) -> dict[str, Any] | None:
    return celery_backend_cluster.config() if celery_backend_cluster else None


def _redis_container(server: RedisServer) -> LocalRedis:
    return LocalRedis(ProcessContainer(server, hostname=f"127.0.0.1:{server.port}", ports={"6379/tcp": server.port}))


@pytest.fixture
def default_redis_broker(make_redis: Callable[[], RedisServer]) -> LocalRedis:
    return _redis_container(make_redis())


@pytest.fixture
def default_redis_backend(make_redis: Callable[[], RedisServer]) -> LocalRedis:
    return _redis_container(make_redis())


@pytest.fixture
def default_rabbitmq_broker(request: pytest.FixtureRequest) -> Iterator[LocalRabbitMQ]:
    rabbitmq_executables()  # skips here rather than in the session's fixture
    server: RabbitMQServer = request.getfixturevalue("rabbitmq_server")
    container = ProcessContainer(server, hostname=f"127.0.0.1:{server.port}", ports={"5672/tcp": server.port})
    node = LocalRabbitMQ(container)
    node.own_vhost = f"setup-{os.getpid()}-{next(_numbers)}"
    server.add_vhost(node.own_vhost)
    yield node
    server.start()  # should the test have left it dead; does nothing else
    server.drop_vhost(node.own_vhost)


@pytest.fixture
def celery_setup_cls() -> type[CeleryTestSetup]:
    return LocalTestSetup


@pytest.fixture
def celery_setup_config(
    celery_setup_cls: type[CeleryTestSetup], celery_worker_cluster_config: dict[str, Any], fleet: Fleet, make_app: Any
) -> dict[str, Any]:
    """The settings of the test's app and, the same, of its workers. (`make_app` puts back the current app.)"""
    return {**celery_setup_cls.config(celery_worker_cluster_config=celery_worker_cluster_config), **fleet.conf}


@pytest.fixture
def default_worker_cls() -> type[CeleryTestWorker]:
    return LocalTestWorker


@pytest.fixture
def default_worker_env(celery_setup_config: dict[str, Any], fleet: Fleet) -> dict[str, str]:
    return environment(celery_setup_config, fleet.env)


@pytest.fixture
def start_worker_node(
    request: pytest.FixtureRequest,
    celery_pool: str,
    celery_setup_config: dict[str, Any],
    default_worker_env: dict[str, str],
    fleet: Fleet,
    tmp_path: Path,
) -> Iterator[Callable[[], LocalWorker]]:
    """`start_worker_node()` → one more worker of the fleet, started but perhaps not ready yet."""
    started: list[Worker] = []

    def start() -> LocalWorker:
        worker = new_worker(
            conf=celery_setup_config,
            folder=tmp_path,
            env=default_worker_env,
            app_maker=lambda conf: request.getfixturevalue("celery_setup_app"),
            pool=celery_pool,
            concurrency=fleet.concurrency,
            queues=fleet.queues,
            loglevel="INFO",
            args=fleet.args,
        )
        track(request, worker)
        started.append(worker)
        worker.start()
        return LocalWorker(ProcessContainer(worker, hostname="localhost", ports={}))

    yield start
    for worker in started:
        worker.kill()


@pytest.fixture
def default_worker_container(start_worker_node: Callable[[], LocalWorker]) -> LocalWorker:
    return start_worker_node()


@pytest.fixture
def celery_worker(celery_setup_worker: CeleryTestWorker) -> CeleryTestWorker:
    return celery_setup_worker


@pytest.fixture
def celery_worker_cluster(
    celery_worker: CeleryTestWorker,
    default_worker_cls: type[CeleryTestWorker],
    default_worker_app: Celery,
    fleet: Fleet,
    start_worker_node: Callable[[], LocalWorker],
) -> Iterator[CeleryWorkerCluster]:
    others = [default_worker_cls(start_worker_node(), default_worker_app) for _ in range(fleet.workers - 1)]
    cluster = CeleryWorkerCluster(celery_worker, *others)
    assert cluster.ready()
    yield cluster
    cluster.teardown()


__all__ = [
    "celery_backend_cluster",
    "celery_backend_cluster_config",
    "celery_broker",
    "celery_broker_cluster",
    "celery_broker_cluster_config",
    "celery_pool",
    "celery_rabbitmq_broker",
    "celery_redis_backend",
    "celery_redis_broker",
    "celery_setup",
    "celery_setup_app",
    "celery_setup_cls",
    "celery_setup_config",
    "celery_setup_name",
    "celery_setup_worker",
    "celery_worker",
    "celery_worker_cluster",
    "celery_worker_cluster_config",
    "default_rabbitmq_broker",
    "default_redis_backend",
    "default_redis_broker",
    "default_worker_app",
    "default_worker_cls",
    "default_worker_container",
    "default_worker_env",
    "fleet",
    "pytest_generate_tests",
    "start_worker_node",
]
