"""The Redis store where servers stand in for each other: failovers of sentinels, and clusters whose slots move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event
from typing import Any

import pytest
import redis

from celery_breaker.core.record import Record, State
from celery_breaker.errors import ConfigurationError, StoreError
from celery_breaker.stores.redis import RedisStore
from celery_breaker.stores.url import open_store
from tests.contract.conftest import fresh_prefix
from tests.stores.operations import FAILURE, OPEN, WINDOW
from tests.support.limits import at_most
from tests.support.redis_topologies import MASTER, Cluster, Node, Sentinels
from tests.support.servers import RedisServer
from tests.support.waiting import eventually

TIMEOUT = 1.0

Opener = Callable[..., RedisStore]


@pytest.fixture
def opened() -> Iterator[Opener]:
    """`opened(servers)` → a store on them, closed with the test."""
    with ExitStack() as stack:

        def open_(servers: Sentinels | Cluster, **more: Any) -> RedisStore:
            options = servers.options if isinstance(servers, Sentinels) else {}
            store = RedisStore(servers.url, **{"timeout": 5.0, "options": options, **more})
            stack.callback(store.close)
            return store

        yield open_


def count(store: RedisStore, name: str = "smtp") -> int:
    """Count a failure; return how many there are."""
    return store.tally(name, FAILURE, WINDOW, generation=0, worker="a").failures


def has(server: RedisServer, key: str) -> bool:
    with server.client() as client:
        return key.encode() in client.keys("*")  # which a cluster's replica answers, too


def refused_within(seconds: float, call: Callable[[], object]) -> str:
    """What the `StoreError` says that comes in time."""
    with pytest.raises(StoreError) as failure, at_most(seconds):
        call()
    return str(failure.value)


# --- sentinels --------------------------------------------------------------------------------------------------------


def test_after_a_failover_it_goes_on_with_what_the_promoted_replica_has(
    make_sentinels: Callable[..., Sentinels], opened: Opener
) -> None:
    slow = f"sentinel down-after-milliseconds {MASTER} 1500"  # no sooner than this test has looked
    servers = make_sentinels(lines=(slow,))
    store = opened(servers, timeout=1.0)
    assert count(store) == 1
    assert store.lease("tend", "a", limit=1, ttl=600)
    assert store.swap(OPEN, expected=0)
    eventually(lambda: has(servers.replica, "celery-breaker:{smtp}:record"), "it should be replicated")
    servers.master.kill()
    refused_within(2.0, store.now)
    eventually(store.now, "the store should find the new master", ignore=(StoreError,), timeout=30)
    assert servers.master_port() == servers.replica.port
    assert store.read(["smtp"]).records["smtp"].reason == OPEN.reason
    assert count(store) == 2
    assert not store.lease("tend", "b", limit=1, ttl=600)
    assert store.swap(OPEN, expected=1)
    assert store.names() == ["smtp"]


def test_a_master_that_became_a_replica_is_left_at_the_first_write_it_refuses(
    make_sentinels: Callable[..., Sentinels], opened: Opener
) -> None:
    servers = make_sentinels(count=1)
    store = opened(servers)
    assert count(store) == 1
    eventually(lambda: has(servers.replica, "celery-breaker:{smtp}:window"), "it should be replicated")
    with servers.sentinels[0].client() as watch, servers.master.client() as old, servers.replica.client() as new:
        watch.sentinel_remove(MASTER)  # else it would end the connections, which then ask anew without being refused
        new.replicaof("NO", "ONE")
        old.replicaof("127.0.0.1", str(servers.replica.port))
        with pytest.raises(StoreError, match=r"(?i)read.?only|now a slave"):
            count(store)
        with pytest.raises(StoreError, match=f"No master found for '{MASTER}'"):
            count(store)
        watch.sentinel_monitor(MASTER, "127.0.0.1", servers.replica.port, 1)
        assert count(store) == 2


def test_sentinels_that_hang_matter_only_to_those_who_must_ask_them(
    make_sentinels: Callable[..., Sentinels], opened: Opener
) -> None:
    servers = make_sentinels(count=1)
    connected, other = opened(servers), opened(servers, timeout=TIMEOUT)
    assert count(connected) == 1
    servers.sentinels[0].pause()
    assert count(connected) == 2
    refused_within(TIMEOUT, lambda: count(other))
    servers.sentinels[0].resume()
    assert eventually(lambda: count(other), ignore=(StoreError,)) >= 3
    servers.sentinels[0].kill()
    assert f"127.0.0.1:{servers.sentinels[0].port}" in refused_within(TIMEOUT, opened(servers, timeout=TIMEOUT).now)


def test_one_sentinel_that_is_gone_is_passed_over(sentinels: Sentinels, opened: Opener) -> None:
    store = RedisStore(f"sentinel://127.0.0.1:1;{sentinels.url}", prefix=fresh_prefix(), options=sentinels.options)
    assert count(store) == 1
    store.close()


def test_the_database_of_a_sentinel_url_is_the_one_that_is_used(sentinels: Sentinels) -> None:
    prefix = fresh_prefix()
    store = RedisStore(sentinels.url_for(3), prefix=prefix, timeout=5.0, options=sentinels.options)
    assert count(store) == 1
    store.close()
    with sentinels.master.client(3) as client:
        assert client.keys(f"{prefix}:*") == [f"{prefix}:{{smtp}}:window".encode()]


def test_sentinels_and_servers_have_passwords_of_their_own(
    make_sentinels: Callable[..., Sentinels], opened: Opener
) -> None:
    servers = make_sentinels(count=1)
    for server, password in ((servers.sentinels[0], "of-sentinels"), (servers.master, "of-servers")):
        with server.client() as client:
            client.execute_command("ACL SETUSER", "default", "resetpass", f">{password}")
    both = {**servers.options, "sentinel_kwargs": {"password": "of-sentinels"}, "password": "of-servers"}
    assert count(opened(servers, options=both)) == 1
    for wrong in (
        {"sentinel_kwargs": {}},
        {"sentinel_kwargs": {"password": "wr0ng"}},
        {"password": ""},
        {"password": "wr0ng"},
    ):
        said = refused_within(5.0, opened(servers, options={**both, **wrong}).now)
        assert "of-se" not in said
        assert "wr0ng" not in said


@pytest.mark.parametrize("options", [{}, {"master_name": ""}, {"master_name": None}])
def test_sentinels_without_a_master_s_name_are_refused_with_the_cure(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"needs the name of the master: master_name in .* or in the URL"):
        open_store("sentinel://127.0.0.1:1/0", options=options)


def test_a_master_that_no_sentinel_knows_is_named(sentinels: Sentinels) -> None:
    store = RedisStore(sentinels.url, timeout=TIMEOUT, options={"master_name": "mymistress"})
    assert "No master found for 'mymistress'" in refused_within(TIMEOUT, store.now)
    store.close()


# --- cluster ----------------------------------------------------------------------------------------------------------


def spread(cluster: Cluster, store: RedisStore) -> dict[int, str]:
    """A breaker's name for each master, by port."""
    found: dict[int, str] = {}
    for number in range(1000):
        found.setdefault(cluster.owner(store._key(f"svc-{number}", "record")).port, f"svc-{number}")
        if len(found) == len(cluster.masters):
            return found
    raise AssertionError(found)


def written(store: RedisStore, name: str) -> None:
    assert store.swap(Record(name=name, state=State.OPEN, generation=1, since=1.0, until=2.0), expected=0)


def test_breakers_of_all_nodes_are_read_listed_and_forgotten(cluster: Cluster, opened: Opener) -> None:
    store = opened(cluster, prefix=fresh_prefix())
    names = [f"svc-{number}" for number in range(100)]
    before = store.now()
    for name in names:
        written(store, name)
        assert count(store, name) == 1
    found = store.read([*names, "none"])
    assert [name for name in names if found.records[name].version != 1] == []
    assert found.records["none"] == Record(name="none")
    assert before <= found.now <= store.now()
    assert sorted(store.names()) == sorted(names)
    assert len({cluster.owner(store._key(name, "record")).port for name in names}) == 3
    for name in names:
        store.forget(name)
    assert store.names() == []
    assert {record.version for record in store.read(names).records.values()} == {0}
    assert count(store, names[0]) == 1


def test_reading_many_breakers_is_one_round_trip_for_each_node(
    cluster: Cluster, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(cluster, prefix=fresh_prefix())
    names = [f"svc-{number}" for number in range(60)]
    store.read(names)
    sent = []
    send = redis.Connection.send_packed_command

    def counted(self: redis.Connection, command: object, *args: object, **options: object) -> None:
        sent.append(self.port)
        send(self, command, *args, **options)

    monkeypatch.setattr(redis.Connection, "send_packed_command", counted)
    store.read(names)
    assert sorted(sent) == sorted(node.port for node in cluster.masters)


def migrated(slot: int, keys: list[str], source: Node, target: Node, others: list[Node]) -> Iterator[str]:
    """Move a slot as `redis-cli` does; yields after each step."""
    source_id, target_id = source.id, target.id
    target.tell("SETSLOT", slot, "IMPORTING", source_id)
    source.tell("SETSLOT", slot, "MIGRATING", target_id)
    yield "keys that are not there are asked for elsewhere"
    with source.client() as client:
        client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
    yield "all are asked for elsewhere"
    for node in (target, source, *others):
        node.tell("SETSLOT", slot, "NODE", target_id)
    yield "all have moved"


def test_a_slot_that_moves_loses_and_doubles_nothing(make_cluster: Callable[..., Cluster], opened: Opener) -> None:
    cluster = make_cluster()
    store, other, idle = (opened(cluster) for _ in range(3))
    window, record = (store._key("smtp", kind) for kind in ("window", "record"))
    source = cluster.owner(window)
    target, third = (node for node in cluster.masters if node is not source)
    slot = source.tell("KEYSLOT", window)
    counted, stop = [count(store)], Event()
    assert idle.read(["smtp"]).records["smtp"].version == 0
    written_at = 0

    def keep_counting() -> None:
        while not stop.is_set():
            counted.append(count(other))

    with ThreadPoolExecutor(1) as pool:
        counting = pool.submit(keep_counting)
        try:
            for step in migrated(slot, [window], source, target, [third]):
                since = len(counted)
                assert store.swap(OPEN, expected=written_at), step  # at first its key is nowhere, so it is made there
                written_at += 1
                assert store.read(["smtp", "other"]).records["smtp"].version == written_at, step
                eventually(lambda since=since: counting.done() or len(counted) > since + 20, step)
        finally:
            stop.set()
        counting.result(10)
    assert counted == list(range(1, len(counted) + 1))
    assert count(store) == len(counted) + 1
    assert idle.read(["smtp"]).records["smtp"].version == written_at, "with its map of before"
    assert has(target, record)
    assert has(target, window)


def test_a_killed_master_s_replica_takes_over_its_breakers(
    make_cluster: Callable[..., Cluster], opened: Opener
) -> None:
    cluster = make_cluster(replicas=True)
    store = opened(cluster, timeout=1.0)
    names = spread(cluster, store)
    for name in names.values():
        written(store, name)
        count(store, name)
    dead, *alive = cluster.masters
    eventually(lambda: has(cluster.replicas[0], store._key(names[dead.port], "window")), "it should be replicated")
    dead.kill()
    refused_within(2.0, lambda: count(store, names[dead.port]))
    eventually(lambda: count(store, names[dead.port]), "its replica should serve", ignore=(StoreError,), timeout=30)
    found = eventually(lambda: store.read(names.values()), "all should", ignore=(StoreError,)).records
    assert {record.version for record in found.values()} == {1}
    for node in alive:
        assert count(store, names[node.port]) == 2
    assert sorted(store.names()) == sorted(names.values())


def test_a_node_that_hangs_costs_its_own_breakers_the_timeout_and_the_others_nothing(
    make_cluster: Callable[..., Cluster], opened: Opener
) -> None:
    cluster = make_cluster("--cluster-require-full-coverage", "no")  # else the others would soon refuse, too
    store = opened(cluster, timeout=TIMEOUT)
    names = spread(cluster, store)
    for name in names.values():
        written(store, name)
    listing = cluster.owner(f"{store._prefix}:names")
    hung = next(node for node in cluster.masters if node is not listing)
    hung.pause()
    refused_within(TIMEOUT, lambda: count(store, names[hung.port]))
    for _ in range(3):  # who is asked next for the nodes is a matter of chance
        refused_within(TIMEOUT, lambda: store.read(names.values()))
    for node in cluster.masters:
        if node is not hung:
            with at_most(0.0):
                assert store.read([names[node.port]]).records[names[node.port]].version == 1
    hung.resume()
    eventually(lambda: store.read(names.values()), ignore=(StoreError,))


def test_a_cluster_that_is_away_is_a_store_error_and_is_found_when_it_is_back(
    make_cluster: Callable[..., Cluster], opened: Opener
) -> None:
    cluster = make_cluster("--appendonly", "yes")
    store = opened(cluster)
    assert count(store) == 1
    for node in cluster.nodes:
        node.kill()
    for _ in range(5):  # more often than there are nodes
        refused_within(TIMEOUT, lambda: count(store))
        refused_within(TIMEOUT, store.now)
    for node in cluster.nodes:
        node.start()
    eventually(lambda: count(store), "the cluster should be found", ignore=(StoreError,), timeout=30)
    assert count(store) == 3
