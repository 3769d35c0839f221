"""Redis in its larger forms: watched by sentinels, spread over a cluster, behind TLS and rules of access.

Fixtures: `make_sentinels`, `make_cluster` and `make_tls_redis` make what a test may break; `sentinels` and `cluster`
are for the session and must be left as they were found.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.containers import node_of
from tests.support.processes import free_port
from tests.support.servers import RedisServer, new_redis, redis_executable
from tests.support.waiting import eventually

MASTER = "mymaster"
_SLOTS = 16384
_SYNC_AT_ONCE = ("--repl-diskless-sync-delay", "0")  # else a master waits 5 s for more replicas

Folders = Callable[[str], Path]


# --- sentinels --------------------------------------------------------------------------------------------------------


class Sentinel(RedisServer):
    """A `redis-server` in the role of a sentinel that watches one master."""

    def __init__(self, folder: Path, master: RedisServer, *lines: str, quorum: int) -> None:
        super().__init__(folder, executable=redis_executable())
        conf = folder / "sentinel.conf"
        conf.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {MASTER} 127.0.0.1 {master.port} {quorum}\n"
            f"sentinel down-after-milliseconds {MASTER} 300\n"
            f"sentinel failover-timeout {MASTER} 1000\n" + "".join(f"{line}\n" for line in lines)
        )
        self.argv = [self.argv[0], str(conf), "--sentinel"]


@dataclass
class Sentinels:
    """A master, its replica, and the sentinels that make the one the other."""

    master: RedisServer
    replica: RedisServer
    sentinels: list[Sentinel]

    @property
    def url(self) -> str:
        return self.url_for(0)

    def url_for(self, db: int) -> str:
        hosts = [f"sentinel://127.0.0.1:{sentinel.port}" for sentinel in self.sentinels]
        return ";".join(hosts) + f"/{db}"

    @property
    def options(self) -> dict[str, Any]:
        return {"master_name": MASTER}

    def master_port(self) -> int:
        """Where the sentinels say that the master is."""
        with self.sentinels[0].client() as client:
            return int(client.sentinel_masters()[MASTER]["port"])

    def wait_until_ready(self) -> None:
        """Until every sentinel knows the replica and the others."""
        for sentinel in self.sentinels:
            eventually(lambda sentinel=sentinel: self._ready(sentinel), sentinel.tail, timeout=30)

    def _ready(self, sentinel: Sentinel) -> bool:
        with sentinel.client() as client:
            state = client.sentinel_masters()[MASTER]
            slaves = client.sentinel_slaves(MASTER)
        others = state["num-other-sentinels"] == len(self.sentinels) - 1
        return others and len(slaves) == 1 and slaves[0]["flags"] == "slave" and state["is_master"]


@contextmanager
def started_sentinels(folders: Folders, *args: str, count: int = 3, lines: tuple[str, ...] = ()) -> Iterator[Sentinels]:
    """`args` are for the servers, `lines` for each sentinel's configuration."""
    with ExitStack() as stack:

        def started(server: Any) -> Any:
            stack.callback(server.kill)
            if not server.running:
                server.start()
            return server

        master = started(new_redis(folders("master"), *args, *_SYNC_AT_ONCE))
        follow = ("--replicaof", "127.0.0.1", str(master.port))
        replica = started(new_redis(folders("replica"), *args, *_SYNC_AT_ONCE, *follow))
        quorum = count // 2 + 1
        watch = [started(node_of(Sentinel)(folders("sentinel"), master, *lines, quorum=quorum)) for _ in range(count)]
        found = Sentinels(master, replica, watch)
        found.wait_until_ready()
        yield found


# --- cluster ----------------------------------------------------------------------------------------------------------


def _cluster_port() -> int:
    """A free port with another, 10,000 above it, for what the nodes tell each other."""
    while True:
        port = free_port()
        with socket.socket() as bus, contextlib.suppress(OSError, OverflowError):
            bus.bind(("127.0.0.1", port + 10_000))
            return port


class Node(RedisServer):
    """A node of a cluster, which serves no slots yet."""

    def __init__(self, folder: Path, *args: str) -> None:
        super().__init__(folder, executable=redis_executable())
        port, self.port = str(self.port), _cluster_port()
        self.argv[self.argv.index(port)] = str(self.port)
        self.argv += ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", *_SYNC_AT_ONCE, *args]

    def tell(self, *words: object) -> Any:
        """A `CLUSTER` command, by a client that is not of the cluster."""
        with self.client(decode_responses=True) as client:
            return client.execute_command("CLUSTER " + str(words[0]), *words[1:])

    @property
    def id(self) -> str:
        return str(self.tell("MYID"))


@dataclass
class Cluster:
    """Masters that share the slots evenly, and replicas: the n-th is of the n-th master."""

    masters: list[Node]
    replicas: list[Node]

    @property
    def nodes(self) -> list[Node]:
        return [*self.masters, *self.replicas]

    @property
    def url(self) -> str:
        return ";".join(f"redis+cluster://127.0.0.1:{node.port}" for node in self.masters)

    def owner(self, key: str) -> Node:
        """The master of a key."""
        slot = self.masters[0].tell("KEYSLOT", key)
        return self.masters[slot * len(self.masters) // _SLOTS]

    def form(self) -> None:
        """Make one cluster of the nodes, and wait until each says that all is well."""
        count = len(self.masters)
        slots: list[list[int]] = [[] for _ in self.masters]
        for slot in range(_SLOTS):
            slots[slot * count // _SLOTS].append(slot)
        for node, part in zip(self.masters, slots, strict=True):
            node.tell("ADDSLOTS", *part)
        for node in self.nodes[1:]:
            node.tell("MEET", "127.0.0.1", self.nodes[0].port)
        for master, replica in zip(self.masters, self.replicas, strict=False):
            eventually(lambda master=master, replica=replica: self._follow(replica, master), timeout=30)
        eventually(self.healthy, self.nodes[0].tail, timeout=30)

    @staticmethod
    def _follow(replica: Node, master: Node) -> bool:
        import redis

        try:
            return bool(replica.tell("REPLICATE", master.id))
        except redis.ResponseError:  # it has not heard of the master yet
            return False

    def healthy(self) -> bool:
        """Whether every node knows all others, and who serves what."""
        for node in self.nodes:
            if not node.running:
                continue
            info = node.tell("INFO")
            lines = info if isinstance(info, dict) else dict(line.split(":") for line in info.split())
            if lines["cluster_state"] != "ok" or int(lines["cluster_known_nodes"]) != len(self.nodes):
                return False
        return True


@contextmanager
def started_cluster(folders: Folders, *args: str, replicas: bool = False) -> Iterator[Cluster]:
    """Three masters, each with a replica if asked for."""
    with ExitStack() as stack:

        def started() -> Node:
            node = node_of(Node)(folders("node"), *args)
            stack.callback(node.kill)
            node.start()
            return node

        cluster = Cluster([started() for _ in range(3)], [started() for _ in range(3 if replicas else 0)])
        cluster.form()
        yield cluster


# --- TLS --------------------------------------------------------------------------------------------------------------


@dataclass
class TlsServer:
    """A Redis that takes connections with TLS at `tls_port`, and the files a client needs."""

    server: RedisServer
    tls_port: int
    ca: Path
    certificate: Path
    key: Path

    def url_for(self, db: int, **parameters: object) -> str:
        words = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"rediss://localhost:{self.tls_port}/{db}?{words}"

    @property
    def options(self) -> dict[str, str]:
        """What `broker_use_ssl` and `redis_backend_use_ssl` hold."""
        return {"ssl_ca_certs": str(self.ca), "ssl_certfile": str(self.certificate), "ssl_keyfile": str(self.key)}


def new_tls(folder: Path, *args: str, host: str = "localhost", client_certificates: bool = False) -> TlsServer:
    """A started Redis whose certificate is for `host`; the caller stops `.server`."""
    authority = trustme.CA()
    ca, certificate, key = folder / "ca.pem", folder / "server.pem", folder / "server.key"
    authority.cert_pem.write_to_path(ca)
    _write(authority.issue_cert(host), certificate, key)
    client_certificate, client_key = folder / "client.pem", folder / "client.key"
    _write(authority.issue_cert("client"), client_certificate, client_key)
    port = free_port()
    words = ["--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", ca]
    words += ["--tls-auth-clients", "yes" if client_certificates else "no"]
    return TlsServer(new_redis(folder, *map(str, words), *args), port, ca, client_certificate, client_key)


def _write(leaf: trustme.LeafCert, certificate: Path, key: Path) -> None:
    leaf.private_key_pem.write_to_path(key)
    certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))


# --- fixtures ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    with started_sentinels(tmp_path_factory.mktemp, count=1) as found:
        yield found


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with started_cluster(tmp_path_factory.mktemp) as found:
        yield found


@pytest.fixture
def make_sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Sentinels]]:
    """`make_sentinels(*args, count=3)` → a set of the test's own."""
    with ExitStack() as stack:
        yield lambda *args, **more: stack.enter_context(started_sentinels(tmp_path_factory.mktemp, *args, **more))


@pytest.fixture
def make_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Cluster]]:
    """`make_cluster(*args, replicas=False)` → a cluster of the test's own."""
    with ExitStack() as stack:
        yield lambda *args, **more: stack.enter_context(started_cluster(tmp_path_factory.mktemp, *args, **more))


@pytest.fixture
def make_tls_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., TlsServer]]:
    """`make_tls_redis(*args, host="localhost", client_certificates=False)` → a Redis with TLS of the test's own."""
    with ExitStack() as stack:

        def make(*args: str, **more: Any) -> TlsServer:
            found = new_tls(tmp_path_factory.mktemp("tls"), *args, **more)
            stack.callback(found.server.kill)
            return found

        yield make
