"""What Redis does with keys and scripts while nobody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from celery_breaker.core.record import Mode, Record, State
from celery_breaker.core.windows import Delta, Window
from celery_breaker.engine.registry import Registry
from celery_breaker.stores.redis import RedisStore
from tests.contract.conftest import fresh_redis
from tests.engine.world import POLICY, SilentReporter, breaker_in, fail, known
from tests.support.servers import RedisServer
from tests.support.waiting import eventually

FAILURE = Delta().then(failed=True, slow=False)
WINDOWS = [Window(span=60.0), Window(span=86_400.0), Window(span=100.0, by_calls=True)]


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[RedisStore]:
    with fresh_redis(redis_server) as store:
        yield store


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis_server.client() as client:
        yield client


JOURNAL = (":history", ":failures")
"""For people to read, and for a month."""


def counters(store: RedisStore, client: redis.Redis) -> dict[str, int]:
    """Keys of windows and leases, which should not stay for ever, and the milliseconds they have; -1 is for ever."""
    keys = [key.decode() for key in client.scan_iter(f"{store._prefix}:*")]
    return {key: client.pttl(key) for key in keys if key.endswith((":window", ":lease"))}


@pytest.mark.parametrize("window", WINDOWS, ids=["a minute", "a day", "100 calls"])
def test_a_counter_never_lives_for_ever_although_it_expires_between_two_calls(
    store: RedisStore, client: redis.Redis, window: Window
) -> None:
    """Where the expiry is set only by whoever believes to have made the key, one that is made anew stays for good."""
    key = f"{store._prefix}:{{smtp}}:window"

    def tally(delta: Delta = FAILURE, generation: int = 1) -> int:
        failures = store.tally("smtp", delta, window, generation=generation, worker="a").failures
        assert all(left > 0 for left in counters(store, client).values()), counters(store, client)
        return failures

    assert [tally(), tally(), tally(Delta())] == [1, 2, 2]
    client.pexpire(key, 1)
    eventually(lambda: not client.exists(key))
    assert tally(Delta()) == 0
    assert not client.exists(key), "looking makes no key"
    assert [tally(), tally()] == [1, 2]
    client.persist(key)  # as an older release, or a stranger, may leave it
    assert [tally(), tally(generation=0), tally(generation=2)] == [3, 0, 1]
    assert client.ttl(key) > 3000


def test_a_lease_never_lives_for_ever(store: RedisStore, client: redis.Redis) -> None:
    for holder in "abc":
        store.lease("smtp:2:permit", holder, limit=2, ttl=30)
        assert [0 < left <= 31_000 for left in counters(store, client).values()] == [True]
    key = next(iter(counters(store, client)))
    client.pexpire(key, 1)
    eventually(lambda: not client.exists(key))
    assert store.lease("smtp:2:permit", "d", limit=1, ttl=30)
    assert [0 < left <= 31_000 for left in counters(store, client).values()] == [True]


@pytest.mark.parametrize("expires", [None, 86_400.0])
def test_an_override_outlives_every_expiry_of_keys(
    store: RedisStore, client: redis.Redis, expires: float | None
) -> None:
    """Where the override is a key with a time to live, or goes with the counters, nobody lifts it and it is gone."""

    def process() -> Registry:
        registry = Registry(store, policy_of=lambda name: POLICY)
        registry.reporter = SilentReporter()  # type: ignore[assignment]
        return registry

    registry = process()
    fail(registry, 2)
    store.lease("smtp:0:permit", "a", limit=1, ttl=30)
    breaker_in(registry).open(reason="maintenance", expires=expires)
    volatile = counters(store, client)
    assert len(volatile) == 2
    client.delete(*volatile)  # their time has come
    kept = {key.decode() for key in client.scan_iter(f"{store._prefix}:*")}
    assert {client.ttl(key) for key in kept if not key.endswith(JOURNAL)} == {-1}
    later = process()
    assert known(later).record.mode is Mode.FORCED_OPEN
    assert later.enter(later.cell("smtp")) is None


SCRIPTS: dict[str, Callable[[RedisStore], object]] = {
    "read": lambda store: store.read(["smtp"]).records["smtp"].generation == 0,
    "tally": lambda store: store.tally("smtp", FAILURE, WINDOWS[0], generation=0, worker="a").failures == 1,
    "swap": lambda store: store.swap(Record(name="smtp", state=State.OPEN, generation=1), expected=0),
    "lease": lambda store: store.lease("key", "a", limit=1, ttl=60),
}


def test_a_restarted_server_that_knows_no_script_is_no_failure(make_redis: Callable[..., RedisServer]) -> None:
    """Where a script is loaded once, at start, everything is `NOSCRIPT` from the first restart on."""
    server = make_redis()
    stores = {name: RedisStore(server.url, prefix=name, timeout=5.0) for name in SCRIPTS}
    for name, use in SCRIPTS.items():
        assert use(stores[name])
    server.kill()
    server.start()
    for name, use in SCRIPTS.items():
        stores[name].close()  # a connection that was lost is another matter
        assert use(stores[name]), name
        stores[name].close()
