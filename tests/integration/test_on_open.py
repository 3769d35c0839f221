"""What becomes of a task that is not admitted: parked, sent again, failed, or replaced."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from celery.result import allow_join_result

from celery_breaker import BreakerOpen
from tests.integration import guarded
from tests.support.breakers import QUICK, breaker_in, conf, tripped
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory

LONG = {**QUICK, "recovery_timeout": 60, "max_recovery_timeout": 60}


def test_fail_fails_at_once_with_breaker_open(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    worker = worker_factory(conf=conf(redis_server, breakers={"svc": {**LONG, "on_open": "fail"}}))
    tripped(breaker_in(worker.app, "svc"), service)
    result = guarded.once.apply_async((service.folder, 1), link_error=guarded.on_error.s(service.folder))
    with allow_join_result(), pytest.raises(BreakerOpen, match="'svc' is open") as failure:
        result.get(timeout=20)
    assert failure.value.name == "svc"
    assert failure.value.retry_after is not None and 0 < failure.value.retry_after <= 66
    eventually(lambda: service.noted("errbacks") == [["BreakerOpen"]], "the errback should be called")
    assert len(service.refused()) == 3


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_retry_comes_back_later_and_spends_no_retry(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, broker: str
) -> None:
    policy = {**QUICK, "on_open": "retry", "recovery_timeout": 2}
    worker = worker_factory(broker=broker, concurrency=2, conf=conf(redis_server, breakers={"svc": policy}))
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    results = [guarded.call.delay(service.folder, number) for number in range(5)]
    eventually(lambda: all(result.state == "DEFERRED" for result in results), "all should be deferred", timeout=20)
    assert seen.parked() == 0
    service.come_back()
    assert sorted(result.get(timeout=40) for result in results) == list(range(5))
    assert sorted(service.served()) == list(range(5))
    met = Counter(int(call.words[0]) for call in service.refused())  # a slow machine may have let one probe
    spent = {int(call.words[0]): int(call.words[1]) for call in service.calls() if call.up}
    assert spent == {number: met[number] for number in range(5)}, "a retry for each call that failed, none for the wait"


def test_a_callable_gives_the_result_instead(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    policy = {**LONG, "on_open": "tests.integration.guarded.fall_back"}
    worker = worker_factory(conf=conf(redis_server, breakers={"fallback": policy}))
    seen = breaker_in(worker.app, "fallback")
    assert guarded.with_fallback.delay(service.folder, 1).get(timeout=20) == "real"
    tripped(seen, service, task=guarded.with_fallback)
    assert guarded.with_fallback.delay(service.folder, 2).get(timeout=20) == "instead of 2: BreakerOpen"
    assert seen.state == "open"


@pytest.mark.parametrize("limit", [{"max_deferrals": 1}, {"max_deferral_age": 2}], ids=lambda limit: next(iter(limit)))
def test_past_its_limit_a_deferred_task_fails(
    worker_factory: WorkerFactory, service: Service, redis_server: Any, limit: dict[str, int]
) -> None:
    worker = worker_factory(conf=conf(redis_server, breakers={"svc": {**QUICK, **limit}}))
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    results = [guarded.once.delay(service.folder, number) for number in range(3)]
    with pytest.raises((BreakerOpen, OSError)):
        results[0].get(timeout=60)


def test_a_task_with_two_breakers_runs_only_if_both_admit(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    worker = worker_factory(conf=conf(redis_server, breakers={"crm": LONG, "billing": LONG}))
    crm, billing = breaker_in(worker.app, "crm"), breaker_in(worker.app, "billing")
    assert guarded.both.delay(service.folder, 0).get(timeout=20) == 0
    billing.breaker.open(reason="maintenance")
    worker.wait_for_log(r"breaker 'billing' is closed, forced_open")
    parked = guarded.both.delay(service.folder, 1)
    eventually(lambda: billing.parked() == 1, "it should wait for billing", timeout=20)
    assert crm.parked() == 0
    billing.breaker.auto()
    assert parked.get(timeout=20) == 1


def test_each_argument_has_a_breaker_of_its_own(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    worker = worker_factory(conf=conf(redis_server))
    dead = breaker_in(worker.app, "host:b.example")
    assert guarded.per_host.delay("a.example", service.folder).get(timeout=20) == "a.example"
    service.go_down()
    for _ in range(2):
        guarded.per_host.delay("b.example", service.folder)
    eventually(lambda: dead.state == "open", "two failures should do", timeout=20)
    service.come_back()
    guarded.per_host.delay("b.example", service.folder)
    eventually(lambda: dead.parked() == 1, "it should be parked", timeout=20)
    assert guarded.per_host.delay(host="a.example", folder=service.folder).get(timeout=20) == "a.example"


def test_a_missing_argument_fails_that_task_and_counts_for_no_breaker(
    worker_factory: WorkerFactory, service: Service, redis_server: Any
) -> None:
    worker = worker_factory(conf=conf(redis_server))
    result = worker.app.send_task("guarded.per_host", kwargs={"folder": service.folder})
    with pytest.raises(Exception, match="needs the argument 'host'"):
        result.get(timeout=20)
    assert guarded.per_host.delay("a.example", service.folder).get(timeout=20) == "a.example"


def test_results_that_classify_as_failures_trip_it(worker_factory: WorkerFactory, redis_server: Any) -> None:
    policy = {**LONG, "classify": "tests.integration.guarded.classify"}
    worker = worker_factory(concurrency=2, conf=conf(redis_server, breakers={"judged": policy}))
    seen = breaker_in(worker.app, "judged")
    assert [guarded.judged.delay(word).get(timeout=20) for word in ("good", "bad", "bad", "bad")][-1] == "bad"
    eventually(lambda: seen.state == "open", "three bad results should trip it", timeout=20)


def test_under_prefork_classify_hears_of_no_result_where_the_pool_has_no_store_to_share(
    worker_factory: WorkerFactory, redis_server: Any
) -> None:
    policy = {**LONG, "classify": "tests.integration.guarded.classify", "scope": "worker"}
    worker = worker_factory(concurrency=2, conf=conf(redis_server, breakers={"judged": policy}))
    assert "classify of judged hears of exceptions, not of results: with scope='worker', prefork" in worker.logs()
    assert [worker.app.send_task("guarded.judged", ("bad",)).get(timeout=20) for _ in range(5)] == ["bad"] * 5
    assert "classify of breaker 'judged' failed" not in worker.logs()
