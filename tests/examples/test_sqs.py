"""docs/examples/sqs.py does what the page says."""

from __future__ import annotations

from typing import Any

import pytest

from celery_breaker import Breaker
from celery_breaker.plugin.app import breakers_of
from tests.examples import load
from tests.support.servers import RedisServer
from tests.support.servers_sqs import SQSServer
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory

OWN = {"shop-celery", "shop-celery_breaker-parked-smtp", "shop-celery_breaker-quarantine"}


def test_the_queues_that_it_names() -> None:
    assert set(load("sqs").queues()) >= OWN - {"shop-celery"}, "and those of tasks that other tests have imported"


@pytest.mark.integration
def test_a_mail_waits_in_sqs_while_its_breaker_is_open(
    worker_factory: WorkerFactory, redis_server: RedisServer, sqs_server: SQSServer
) -> None:
    sqs_server.reset()
    example = load("sqs")
    options: dict[str, Any] = {
        **example.app.conf.broker_transport_options,
        **sqs_server.conf(wait_time_seconds=1)["broker_transport_options"],
    }
    conf = {
        "broker_transport_options": options,
        "breaker_store": redis_server.url_for(2),
        "breaker_store_prefix": "shop",
    }
    worker = worker_factory(broker="sqs", conf=conf, app="tests.examples.sqs_app:app", wait=False)
    worker.wait_for_log(r" ready\.", timeout=60)
    example.app.conf.update(worker.conf)
    smtp = Breaker("smtp")
    try:
        smtp.open(reason="maintenance", expires=600)
        eventually(lambda: "says the store" in worker.logs(), "the worker should have seen it", timeout=30)
        result = example.send.delay("you")
        eventually(lambda: result.state == "DEFERRED", lambda: result.state, timeout=30)
        smtp.auto()
        assert result.get(timeout=60) == "sent to you"
        assert set(sqs_server.queues()) <= OWN
    finally:
        breakers_of(example.app).forget()
