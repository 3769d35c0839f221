"""What concerns Redis alone: its scripts, restarts, hangs, strangers' keys, and where things are."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celery_breaker.core.journal import Book
from celery_breaker.core.record import Record, encode
from celery_breaker.core.windows import Window
from celery_breaker.errors import StoreError
from celery_breaker.stores.redis import RedisStore
from tests.contract.conftest import fresh_redis
from tests.stores.operations import FAILURE, OPEN, OPERATIONS, share_with_children, use_all
from tests.support.forks import held_by_a_thread, in_child
from tests.support.limits import at_most
from tests.support.servers import RedisServer
from tests.support.waiting import eventually


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[RedisStore]:
    with fresh_redis(redis_server) as store:
        yield store


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis_server.client() as client:
        yield client


# --- outages ----------------------------------------------------------------------------------------------------------


def test_it_survives_that_the_server_forgets_its_scripts(store: RedisStore, client: redis.Redis) -> None:
    use_all(store)
    client.script_flush()
    use_all(store, version=1, failures=2)


def test_it_survives_a_restart_with_all_that_was_kept(make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis(appendonly=True)
    store = RedisStore(server.url, timeout=5.0)
    use_all(store)
    store.lease("tend", "gone", limit=1, ttl=600)
    server.stop()
    with pytest.raises(StoreError, match=r"127\.0\.0\.1"):
        store.now()
    server.start()
    assert not store.lease("tend", "other", limit=1, ttl=600)
    use_all(store, version=1, failures=2)


def test_a_restart_without_persistence_is_an_empty_store(make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis()
    store = RedisStore(server.url, timeout=5.0)
    use_all(store)
    server.kill()
    server.start()
    use_all(store)


def test_a_server_that_hangs_costs_no_more_than_the_timeout(make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis()
    store = RedisStore(server.url, timeout=0.3)
    use_all(store)
    server.pause()
    with pytest.raises(StoreError), at_most(0.3 * 2, at_least=0.25):
        store.lease("smtp:5:permit", "a", limit=1, ttl=60)
    server.resume()
    eventually(lambda: store.now() > 0, ignore=(StoreError,))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_server_that_is_away_is_a_store_error_without_credentials(operation: str) -> None:
    store = RedisStore("redis://user:secret@127.0.0.1:1/0", timeout=0.5)
    with pytest.raises(StoreError) as failure:
        OPERATIONS[operation](store)
    assert "127.0.0.1:1" in str(failure.value)
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_server_that_refuses_is_a_store_error(operation: str, make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis()
    with server.client() as client:
        client.config_set("requirepass", "secret")
    with pytest.raises(StoreError, match=r"(?i)auth"):
        OPERATIONS[operation](RedisStore(server.url, timeout=2.0))


def test_closing_one_that_never_connected_is_fine() -> None:
    RedisStore("redis://127.0.0.1:1/0").close()


def test_a_connection_lost_while_idle_is_no_failure(store: RedisStore, client: redis.Redis) -> None:
    use_all(store)
    client.client_kill_filter(_type="normal", skipme=True)
    use_all(store, version=1, failures=2)


def test_a_fork_has_connections_of_its_own(store: RedisStore) -> None:
    use_all(store)
    share_with_children(store)


# --- what lies under our keys -----------------------------------------------------------------------------------------


def garble(store: RedisStore, client: redis.Redis, value: bytes) -> str:
    key = f"{store._prefix}:{{smtp}}:record"
    client.set(key, value)
    return key


GARBAGE = [
    b"",
    b" ",
    b"garbage",
    b"5",
    b"5 ",
    b"x {}",
    b"-1 {}",
    b"12 garbage",
    b"\xff\xfe\x00\x01",
    b"1 \xff\xff",
    b"7 " + encode(replace(OPEN, name="another")).encode(),
    b"7 " + encode(OPEN).replace('"open"', '"ajar"').encode(),
    encode(OPEN).encode(),
    b"99999999999999 x",
    b"9" * 16 + b" " + encode(OPEN).encode(),
    b"9" * 5000 + b" " + encode(OPEN).encode(),
    b"1 " + b"[" * 100_000,
]


@pytest.mark.parametrize("value", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_stands_as_a_closed_breaker_and_can_be_written_over(
    store: RedisStore, client: redis.Redis, value: bytes
) -> None:
    garble(store, client, value)
    found = store.read(["smtp"]).records["smtp"]
    assert found == Record(name="smtp", version=found.version)
    assert not store.swap(OPEN, expected=found.version + 1)
    assert store.swap(OPEN, expected=found.version)
    assert store.read(["smtp"]).records["smtp"] == replace(OPEN, version=found.version + 1)


@given(value=st.binary(max_size=40) | st.from_regex(rb"\d{1,3} \{.{0,30}\}", fullmatch=True))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_garbage_is_past_cure(store: RedisStore, client: redis.Redis, value: bytes) -> None:
    garble(store, client, value)
    found = store.read(["smtp"]).records["smtp"]
    assert store.swap(OPEN, expected=found.version)


def test_garbage_is_reported_with_its_key_once_per_change(
    store: RedisStore, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    key = garble(store, client, b"garbage")
    for _ in range(3):
        store.read(["smtp", "sms"])
    assert [record.getMessage() for record in caplog.records] == [
        f"key {key} is not a breaker's record; taken as closed"
    ]
    assert store.swap(OPEN, expected=0)
    store.read(["smtp"])
    garble(store, client, b"garbage")
    store.read(["smtp"])
    assert len(caplog.records) == 2


@pytest.mark.parametrize("kind", ["record", "window", "lease"])
def test_a_key_of_another_type_is_taken_over(store: RedisStore, client: redis.Redis, kind: str) -> None:
    for name in ("smtp", "smtp:3:permit"):
        client.rpush(f"{store._prefix}:{{{name}}}:{kind}", "not ours")
    use_all(store)


def test_a_record_of_a_newer_release_is_read_and_keeps_its_place(store: RedisStore, client: redis.Redis) -> None:
    newer = {**json.loads(encode(OPEN)), "colour": "red", "nested": {"a": [1, 2]}}
    garble(store, client, b"41 " + json.dumps(newer).encode())
    assert store.read(["smtp"]).records["smtp"] == replace(OPEN, version=41)
    assert store.swap(OPEN, expected=41)


# --- where things are -------------------------------------------------------------------------------------------------


def test_a_breaker_s_keys_share_a_hash_slot(store: RedisStore, client: redis.Redis) -> None:
    use_all(store)
    store.lease("smtp:3:permit", "a", limit=1, ttl=60)
    keys = {key.decode().removeprefix(store._prefix + ":") for key in client.scan_iter(f"{store._prefix}:*")}
    assert keys == {"names", "{smtp}:record", "{smtp}:window", "{smtp}:history", "{smtp:3:permit}:lease"}


def test_prefixes_are_apart(redis_server: RedisServer, store: RedisStore) -> None:
    use_all(store)
    other = RedisStore(redis_server.url, prefix=store._prefix + "-other", timeout=5.0)
    assert other.names() == []
    use_all(other)
    other.close()


def test_windows_and_leases_do_not_stay_for_ever(store: RedisStore, client: redis.Redis) -> None:
    store.tally("smtp", FAILURE, Window(span=60.0), generation=0, worker="a")
    store.tally("sms", FAILURE, Window(span=86_400.0), generation=0, worker="a")
    store.tally("calls", FAILURE, Window(span=100.0, by_calls=True), generation=0, worker="a")
    store.lease("key", "a", limit=2, ttl=5)
    store.lease("key", "b", limit=2, ttl=50)
    store.swap(OPEN, expected=0)

    def ttl(rest: str) -> int:
        return int(client.ttl(f"{store._prefix}:{rest}"))

    assert 3590 < ttl("{smtp}:window") <= 3600
    assert 2 * 86_400 - 10 < ttl("{sms}:window") <= 2 * 86_400
    assert 3590 < ttl("{calls}:window") <= 3600
    assert 45 < ttl("{key}:lease") <= 51
    assert ttl("{smtp}:record") == -1, "a record stays"


def test_a_window_keeps_no_more_than_its_buckets(store: RedisStore, client: redis.Redis) -> None:
    for _ in range(200):
        store.tally("smtp", FAILURE, Window(span=5.0, by_calls=True), generation=0, worker="a")
    assert client.hlen(f"{store._prefix}:{{smtp}}:window") <= 3 + 3 * 6


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:p%40ss@db.example:6379/1", "redis://db.example:6379/1"),
        ("rediss://:secret@db.example/0?ssl_cert_reqs=none&password=secret", "rediss://db.example/0"),
        ("unix:///run/redis.sock?db=1&password=secret", "unix:///run/redis.sock"),
        ("unix://user:secret@/run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_its_address_shows_no_credentials(url: str, shown: str) -> None:
    assert RedisStore(url).url == shown


def test_it_works_over_a_unix_socket(
    make_redis: Callable[..., RedisServer], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("s") / "redis.sock"
    make_redis("--unixsocket", str(path))
    use_all(RedisStore(f"unix://{path}?db=0", timeout=5.0))


def test_one_call_is_one_round_trip(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    use_all(store)
    sent = []
    send = redis.Connection.send_packed_command

    def counted(self: redis.Connection, command: object, *args: object, **options: object) -> None:
        sent.append(command)
        send(self, command, *args, **options)

    monkeypatch.setattr(redis.Connection, "send_packed_command", counted)
    for operation in ("read", "tally", "lease", "release", "names", "now"):
        OPERATIONS[operation](store)
        assert len(sent) == 1, operation
        sent.clear()
    assert store.swap(OPEN, expected=1)
    assert len(sent) == 1


@pytest.mark.timeout(30)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_is_not_kept_by_a_connection_that_a_thread_of_its_parent_was_taking(store: RedisStore) -> None:
    def child() -> bool:
        store.after_fork()
        return store.now() > 0

    store.now()
    with held_by_a_thread(store._client.client.connection_pool._lock):
        assert in_child(child) == "True"
    assert store.now() > 0


def test_a_server_that_forgets_its_scripts_before_each_command_is_sent_them_whole(
    store: RedisStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = store._client.execute

    def forgetful(*words: object) -> object:
        client.script_flush()
        return execute(*words)

    monkeypatch.setattr(store._client, "execute", forgetful)
    use_all(store)


def test_a_key_of_another_type_is_no_journal_and_is_taken_over(store: RedisStore, client: redis.Redis) -> None:
    for book in Book:
        client.set(store._key("smtp", str(book)), "what else")
        assert store.notes("smtp", book) == []
        store.note("smtp", book, ["one", "two"])
        assert store.notes("smtp", book) == ["two", "one"]


def test_a_journal_does_not_stay_for_ever(store: RedisStore, client: redis.Redis) -> None:
    store.note("smtp", Book.HISTORY, ["one"])
    assert 29 * 86_400 < client.ttl(store._key("smtp", "history")) <= 30 * 86_400
