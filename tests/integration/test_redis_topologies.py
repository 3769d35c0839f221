"""A fleet whose store fails over: workers go on alone, and find each other again at the promoted replica."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from celery_breaker.core.record import State
from celery_breaker.errors import StoreError
from celery_breaker.stores.redis import RedisStore
from tests.chaos.held import QUIET
from tests.integration import guarded
from tests.support.breakers import QUICK, breaker_in, conf, tripped
from tests.support.redis_topologies import MASTER, Sentinels
from tests.support.servers import RedisServer
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory


def test_workers_rejoin_at_the_promoted_replica_and_no_task_is_lost(
    worker_factory: WorkerFactory,
    service: Service,
    redis_server: RedisServer,
    make_sentinels: Callable[..., Sentinels],
) -> None:
    slow = f"sentinel down-after-milliseconds {MASTER} 3000"  # else it may be over before a worker has noticed
    servers = make_sentinels(count=1, lines=(slow,))
    policy = {**QUICK, "recovery_timeout": 600, "max_recovery_timeout": 600}  # only an operator will close it
    options = {"breaker_store": servers.url, "breaker_store_options": servers.options}
    settings = conf(redis_server, breakers={"svc": policy}, **options)
    worker = worker_factory(conf=settings, args=QUIET)
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)

    def parked(numbers: range) -> None:
        for number in numbers:
            guarded.once.delay(service.folder, number)
        eventually(lambda: seen.parked() == numbers.stop, lambda: f"parked: {seen.parked()}", timeout=20)

    parked(range(10))
    with servers.replica.client() as client:
        key = f"{settings['breaker_store_prefix']}:{{svc}}:record"
        eventually(lambda: b'"open"' in (client.get(key) or b""), "it should be replicated")
    servers.master.kill()
    worker.wait_for_log("store is out of reach")
    parked(range(10, 20))
    worker.wait_for_log("store is back")
    store = RedisStore(servers.url, prefix=settings["breaker_store_prefix"], options=servers.options)
    assert store.read(["svc"]).records["svc"].state is State.OPEN
    service.come_back()
    eventually(lambda: seen.breaker.close() is None, "this process should rejoin, too", ignore=(StoreError,))
    eventually(lambda: len(service.served()) >= 20, lambda: f"served: {service.served()}", timeout=30)
    assert Counter(service.served()) == Counter(range(20)), "each ran once, none was lost"
    assert worker.logs().count("breaker 'svc' opened") == 1, "what it went on with was the fleet's"
    service.go_down()
    for number in range(100, 103):
        guarded.once.delay(service.folder, number)
    eventually(lambda: store.read(["svc"]).records["svc"].state is State.OPEN, "all should hear of it", timeout=20)
    store.close()
