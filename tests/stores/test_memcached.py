"""What concerns memcached alone: outages, evictions, several servers, its clock, and what lies where."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from celery_breaker.core.counts import Counts
from celery_breaker.core.record import Record, State
from celery_breaker.core.windows import Delta, Window
from celery_breaker.engine.views import Views
from celery_breaker.errors import StoreError
from celery_breaker.stores.cas import CasStore, Key
from celery_breaker.stores.memcached import MemcachedStore
from celery_breaker.stores.memcached_clock import ServerClock
from celery_breaker.stores.memcached_forms import key_of, shard_of
from celery_breaker.stores.memcached_values import MemcachedValues
from tests.contract.conftest import fresh_prefix
from tests.stores.operations import FAILURE, OPEN, OPERATIONS, WINDOW, share_with_children, use_all
from tests.support.forks import held_by_a_thread, in_child
from tests.support.limits import at_most
from tests.support.processes import Process
from tests.support.servers_memcached import MemcachedServer
from tests.support.waiting import eventually

Make = Callable[..., MemcachedServer]


@pytest.fixture
def store(memcached_server: MemcachedServer) -> Iterator[CasStore]:
    store = MemcachedStore(memcached_server.url, prefix=fresh_prefix(), timeout=5.0)
    yield store
    store.close()


def values_of(store: CasStore) -> MemcachedValues:
    assert isinstance(store._values, MemcachedValues)
    return store._values


def place_of(store: CasStore, kind: str, name: str) -> str:
    return key_of(values_of(store)._prefix, kind, name)


def driver(store: CasStore) -> Any:
    """The client of the only server."""
    return values_of(store)._servers[0]._pool  # type: ignore[attr-defined]


def evict(store: CasStore, kind: str, name: str) -> None:
    values_of(store)._servers[0].delete(place_of(store, kind, name))


# --- outages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_server_that_is_away_is_a_store_error_that_names_it(operation: str) -> None:
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1: .*refused"):
        OPERATIONS[operation](MemcachedStore("memcached://127.0.0.1:1", timeout=0.5))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_server_that_hangs_costs_no_more_than_the_timeout(operation: str, make_memcached: Make) -> None:
    server = make_memcached()
    store = MemcachedStore(server.url, timeout=0.3)
    use_all(store)
    server.pause()
    with pytest.raises(StoreError, match="timed out"), at_most(0.3 * 2, at_least=0.25):
        OPERATIONS[operation](store)
    server.resume()
    eventually(lambda: store.now() > 0, ignore=(StoreError,))


def test_a_server_that_hangs_from_the_start_costs_no_more_either(make_memcached: Make) -> None:
    server = make_memcached()
    server.pause()
    store = MemcachedStore(server.url, timeout=0.3)
    with pytest.raises(StoreError), at_most(0.3 * 2):
        store.read(["smtp"])
    server.resume()


def test_a_restart_is_an_empty_store_and_no_connection_of_before_is_in_the_way(make_memcached: Make) -> None:
    server = make_memcached()
    store = MemcachedStore(server.url, timeout=5.0)
    use_all(store)
    server.kill()
    with pytest.raises(StoreError, match="refused"):
        store.now()
    server.start()
    use_all(store)


def test_connections_that_the_server_closed_while_they_lay_idle_are_no_failure(make_memcached: Make) -> None:
    server = make_memcached()
    store = MemcachedStore(server.url, timeout=5.0)
    use_all(store)
    pool = driver(store).client_pool
    several = [pool.get() for _ in range(3)]
    for client in several:
        client.version()
    for client in several:
        pool.release(client)
    server.kill()
    server.start()
    for _ in range(3):
        store.now()


def test_a_host_with_an_address_that_refuses_is_tried_at_the_next(
    memcached_server: MemcachedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As localhost, which is ``::1`` first, where memcached listens on 127.0.0.1."""
    import socket

    real = socket.getaddrinfo

    def both(host: str, port: int, *args: Any, **options: Any) -> Any:
        if host != "two.example":
            return real(host, port, *args, **options)
        return real("127.0.0.2", port, *args, **options) + real("127.0.0.1", port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", both)
    store = MemcachedStore(f"memcached://two.example:{memcached_server.port}", timeout=1.0)
    assert store.now() > 0
    store.close()


def test_an_answer_that_makes_no_sense_is_a_store_error(store: CasStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.now()
    monkeypatch.setattr("pymemcache.client.base._readline", lambda sock, buf: (b"", b"VALUE what is this"))
    with pytest.raises(StoreError, match="memcached at"):
        store.read(["smtp"])


def test_it_works_over_a_unix_socket(tmp_path: Path, make_memcached: Make) -> None:
    argv = make_memcached().argv
    with TemporaryDirectory() as folder:  # short, as a socket's path must be
        path = Path(folder) / "memcached.sock"
        server = Process([argv[0], "-s", str(path), "-u", "root"], name="memcached", log=tmp_path / "log")
        server.start()
        try:
            eventually(path.exists, server.tail)
            store = MemcachedStore(f"memcached://{path}", timeout=5.0)
            use_all(store)
            assert store.url == f"memcached://{path}"
            store.close()
        finally:
            server.kill()


# --- several servers --------------------------------------------------------------------------------------------------


@pytest.fixture
def three(make_memcached: Make) -> list[MemcachedServer]:
    return [make_memcached() for _ in range(3)]


def url_of(servers: list[MemcachedServer], separator: str = ",") -> str:
    return "memcached://" + separator.join(f"127.0.0.1:{server.port}" for server in servers)


def test_values_are_spread_and_found_whatever_the_order(three: list[MemcachedServer]) -> None:
    store, other = MemcachedStore(url_of(three)), MemcachedStore("cache+" + url_of(three[::-1], ";") + "/")
    assert store.url == other.url
    names = [f"webhook:{number}" for number in range(100)]
    for name in names:
        assert store.swap(Record(name=name, generation=2), expected=0)
    assert {record.generation for record in other.read(names).records.values()} == {2}
    assert sorted(other.names()) == sorted(names)
    held = [values_of(store)._server_of(place_of(store, "record", name)).name for name in names]
    assert all(held.count(name) > 10 for name in set(held)) and len(set(held)) == 3
    store.close()
    other.close()


def test_one_of_several_servers_away_is_an_outage_and_moves_nothing(three: list[MemcachedServer]) -> None:
    """Were its values looked for elsewhere, its breakers would begin anew for some and not for others."""
    store = MemcachedStore(url_of(three), timeout=0.5)
    names = [f"webhook:{number}" for number in range(30)]
    for name in names:
        store.swap(Record(name=name, generation=2), expected=0)
    three[1].pause()
    for _ in range(3):
        with pytest.raises(StoreError, match=str(three[1].port)):
            store.read(names)
        with pytest.raises(StoreError, match=str(three[1].port)):
            store.now()
    three[1].resume()
    assert eventually(store.now, ignore=(StoreError,))
    assert {record.generation for record in store.read(names).records.values()} == {2}
    store.close()


# --- forks ------------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(30)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_is_not_kept_by_what_a_thread_of_its_parent_held(store: CasStore) -> None:
    def child() -> bool:
        store.after_fork()
        return store.now() > 0

    store.now()
    with held_by_a_thread(driver(store).client_pool._lock, values_of(store)._clock._lock):
        assert in_child(child) == "True"
    assert store.now() > 0


def test_a_fork_has_connections_of_its_own(store: CasStore) -> None:
    use_all(store)

    def begins_anew() -> bool:
        store.after_fork()
        return True

    share_with_children(store, ready=begins_anew)


# --- what memcached loses ---------------------------------------------------------------------------------------------


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_evicted_record_stands_as_a_fresh_closed_breaker_and_can_be_written(store: CasStore) -> None:
    use_all(store)
    evict(store, "record", "smtp")
    assert store.read(["smtp"]).records == {"smtp": Record(name="smtp")}
    assert not store.swap(OPEN, expected=1)
    assert store.swap(OPEN, expected=0)
    assert store.names() == ["smtp"]


def test_who_finds_a_listed_breaker_gone_says_so_once(
    memcached_server: MemcachedServer, store: CasStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.swap(OPEN, expected=0)
    evict(store, "record", "smtp")
    newcomer = MemcachedStore(memcached_server.url, prefix=values_of(store)._prefix)
    for _ in range(3):
        newcomer.read(["smtp", "never written"])
    newcomer.close()
    assert lines(caplog) == ["memcached lost the record of breaker 'smtp'; taken as new and closed"]


def test_a_breaker_that_was_forgotten_or_never_written_is_not_said_to_be_lost(
    memcached_server: MemcachedServer, store: CasStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.swap(OPEN, expected=0)
    store.forget("smtp")
    newcomer = MemcachedStore(memcached_server.url, prefix=values_of(store)._prefix)
    newcomer.read(["smtp", "sms"])
    newcomer.close()
    assert lines(caplog) == []


@pytest.mark.parametrize("everything", [False, True], ids=["evicted", "flushed"])
def test_processes_that_know_better_write_it_back_and_one_line_says_so(
    make_memcached: Make, caplog: pytest.LogCaptureFixture, everything: bool
) -> None:
    server = make_memcached()
    stores = [MemcachedStore(server.url, timeout=5.0) for _ in range(2)]
    fleet = [Views(store, worker=str(number)) for number, store in enumerate(stores)]
    for views in fleet:
        views.cell("smtp")
        views.refresh()
    fleet[0].change(fleet[0].cell("smtp"), lambda record, now: replace(OPEN, until=now + 60))
    fleet[1].refresh()
    caplog.clear()
    if everything:
        assert server.command("flush_all") == "OK"
    else:
        evict(stores[0], "record", "smtp")
    for _ in range(3):
        for views in fleet:
            views.refresh()
    assert lines(caplog) == ["breaker 'smtp': the store lost its record; written back as open"]
    assert stores[1].read(["smtp"]).records["smtp"].generation == 3
    assert stores[1].names() == ["smtp"]
    assert all(views.cell("smtp").record.state is State.OPEN for views in fleet)
    for store in stores:
        store.close()


def test_a_record_is_listed_again_when_the_list_was_evicted(store: CasStore) -> None:
    use_all(store)
    evict(store, "names", shard_of("smtp"))
    assert store.names() == []
    assert store.swap(OPEN, expected=1)
    assert store.names() == ["smtp"]


def test_a_server_without_room_for_more_evicts_and_nothing_fails(make_memcached: Make) -> None:
    server = make_memcached("-m", "8", "-I", "1m")
    store = MemcachedStore(server.url, timeout=5.0)
    names = [f"webhook:{number}" for number in range(400)]
    for name in names:
        assert store.swap(Record(name=name, reason=os.urandom(24 * 1024).hex()), expected=0)
    found = store.read(names).records
    left = [name for name in names if found[name].version == 1]
    assert 0 < len(left) < 400
    lost = next(name for name in names if found[name].version == 0)
    assert found[lost] == Record(name=lost)
    assert store.swap(Record(name=lost), expected=0)
    store.close()


# --- what lies where --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"garbage", b"\xff\xfe", b"zzz", b'["p", "record", "sms"]\n1 {}'])
@pytest.mark.parametrize("kind", ["record", "window", "lease"])
def test_what_a_stranger_left_under_our_keys_is_reported_and_written_over(
    store: CasStore, caplog: pytest.LogCaptureFixture, kind: str, data: bytes
) -> None:
    name = "smtp:3:permit" if kind == "lease" else "smtp"
    driver(store).set(place_of(store, kind, name), data)
    use_all(store)
    (line,) = lines(caplog)
    assert f"the {kind} of {name!r} is not ours to read" in line


def test_a_stranger_s_list_of_names_is_begun_anew(store: CasStore) -> None:
    driver(store).set(place_of(store, "names", shard_of("smtp")), b"not ours")
    use_all(store)


def test_prefixes_are_apart(memcached_server: MemcachedServer, store: CasStore) -> None:
    use_all(store)
    other = MemcachedStore(memcached_server.url, prefix=values_of(store)._prefix + ":record")
    assert other.names() == []
    use_all(other)
    other.close()


def test_a_value_too_large_for_the_server_is_a_store_error_with_the_cure(store: CasStore) -> None:
    record = Record(name="smtp", reason=os.urandom(1_500_000).hex())
    with pytest.raises(StoreError, match=r"too large.*memcached -I 8m"):
        store.swap(record, expected=0)
    use_all(store)


def test_a_window_of_twenty_thousand_workers_fits(store: CasStore) -> None:
    workers = {f"celery@worker-{number:05}.production.example.org:{number % 4000}": 1 for number in range(20_000)}
    bucket = WINDOW.bucket_at(store.now(), 0)
    counts = Counts(0, 20_000, 20_000, buckets={bucket: [20_000, 20_000, 0]}, workers={bucket: workers})
    assert len(counts.encode()) > 1024 * 1024, "more than memcached takes"
    assert values_of(store).save(Key("window", "smtp"), counts.encode(), over=None, ttl=60)
    totals = store.tally("smtp", FAILURE, WINDOW, generation=0, worker="one more")
    assert (totals.failures, len(totals.workers)) == (20_001, 20_001)


def test_windows_and_leases_do_not_stay_for_ever_and_records_do(
    store: CasStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[str, int] = {}
    server = values_of(store)._servers[0]
    write = server.write

    def noted(place: str, data: bytes, *, token: int | None, expire: int) -> bool:
        sent[place.split(":", 1)[1]] = expire
        return write(place, data, token=token, expire=expire)

    monkeypatch.setattr(server, "write", noted)
    store.tally("smtp", FAILURE, Window(span=60.0), generation=0, worker="a")
    store.tally("sms", FAILURE, Window(span=20 * 86_400.0), generation=0, worker="a")
    store.lease("key", "a", limit=2, ttl=50)
    store.lease("key", "b", limit=2, ttl=0.2)
    store.release("key", "a")
    assert store.swap(OPEN, expected=0)
    assert sent["window:smtp"] == 3605
    assert abs(sent["window:sms"] - 40 * 86_400 - store.now()) < 10, "above 30 days it is a time of day"
    assert 1 < sent["lease:key"] <= 6
    assert sent["record:smtp"] == 0
    assert store.tally("sms", Delta(), Window(span=20 * 86_400.0), generation=0, worker="a").calls == 1


def test_a_shorter_lease_does_not_end_a_longer_one(store: CasStore) -> None:
    assert store.lease("key", "long", limit=1, ttl=600)
    assert not store.lease("key", "short", limit=1, ttl=0.01)
    assert store.lease("two", "long", limit=2, ttl=600)
    assert store.lease("two", "short", limit=2, ttl=0.01)
    data = driver(store).raw_command(f"mg {place_of(store, 'lease', 'two')} t")
    assert int(data.split(b"t")[-1]) > 500


# --- the clock --------------------------------------------------------------------------------------------------------


def test_machines_whose_clocks_are_right_agree_to_the_millisecond_from_the_first_answer(
    memcached_server: MemcachedServer,
) -> None:
    stores = [MemcachedStore(memcached_server.url) for _ in range(5)]
    for store in stores:
        assert abs(store.now() - time.time()) < 0.005
        store.close()


@pytest.mark.parametrize("wrong", [-3600.0, -30.0, 30.0, 3600.0])
def test_a_machine_whose_clock_is_wrong_goes_by_memcached_s(
    memcached_server: MemcachedServer, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + wrong)
    store = MemcachedStore(memcached_server.url)
    assert abs(store.now() - real()) < 5
    store.close()


class Told:
    """A server's answers, and the two clocks of a machine."""

    def __init__(self) -> None:
        self.local, self.own, self.second = 100.0, 1000.0, 1000

    def clock(self) -> ServerClock:
        return ServerClock(local=lambda: self.local, own=lambda: self.own)

    def ask(self, clock: ServerClock) -> float:
        clock.ask(lambda: self.second)
        return clock.now()


def test_the_clock_stands_still_rather_than_go_back() -> None:
    told = Told()
    told.own = 1003.0
    clock = told.clock()
    assert told.ask(clock) == 1003.0
    told.local, told.own = 101.0, 1001.5
    assert told.ask(clock) == 1003.0
    told.local = 104.0
    assert clock.now() == 1004.5


def test_the_clock_follows_a_server_that_was_set_back_for_good() -> None:
    """Else a lease would be held for as long as the server had been wrong."""
    told = Told()
    clock = told.clock()
    told.ask(clock)
    told.local, told.own, told.second = 110.0, 410.0, 410
    assert told.ask(clock) == 410.0


def test_a_clock_that_is_set_while_nobody_asks_moves_nothing() -> None:
    told = Told()
    clock = told.clock()
    told.ask(clock)
    told.local, told.own = 105.0, 9999.0
    assert clock.now() == 1005.0


def test_the_time_is_asked_for_now_and_then_and_not_with_each_call(
    store: CasStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = values_of(store)._servers[0]
    asked = []
    real = server.second
    monkeypatch.setattr(server, "second", lambda: asked.append(1) or real())
    for _ in range(200):
        store.read(["smtp"])
    assert 1 <= len(asked) <= 3


def test_one_call_is_one_round_trip_to_look_and_one_to_write(store: CasStore, monkeypatch: pytest.MonkeyPatch) -> None:
    use_all(store)
    monkeypatch.setattr(values_of(store)._clock, "due", lambda: False)
    sent: list[str] = []
    pool = driver(store)

    def noted(method: str, real: Callable[..., object], *args: object, **options: object) -> object:
        sent.append(method)
        return real(*args, **options)

    for method in ("gets_many", "add", "cas", "delete", "version", "stats"):
        monkeypatch.setattr(pool, method, partial(noted, method, getattr(pool, method)))

    def cost(operation: str) -> list[str]:
        sent.clear()
        OPERATIONS[operation](store)
        return list(sent)

    assert cost("read") == ["gets_many"]
    assert cost("tally") == ["gets_many"], "of another generation: nothing to write"
    store.tally("smtp", FAILURE, WINDOW, generation=4, worker="a")
    assert cost("lease") == ["gets_many", "add"]
    assert cost("lease") == ["gets_many", "cas"]
    assert cost("release") == ["gets_many", "cas"]
    assert cost("names") == ["gets_many"]
    assert cost("now") == ["version"]
