"""docs/examples/fastapi_orders.py does what the page says."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
from starlette.testclient import TestClient

from celery_breaker.plugin.app import breakers_of
from tests.examples import load
from tests.support.servers import RedisServer


@pytest.fixture(scope="module")
def shop(redis_server: RedisServer) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELERY_BROKER_URL", redis_server.url_for(5))  # goes over the example's own
        example = load("fastapi_orders")
        yield example
    redis_server.client(5).flushdb()
    breakers_of(example.celery).forget()


def test_orders_are_taken_and_charges_fail_fast(shop: ModuleType, redis_server: RedisServer) -> None:
    client = TestClient(shop.api)
    assert client.post("/orders/7").status_code == 202
    assert redis_server.client(5).llen("celery") == 1
    assert client.post("/charges/7").json() == {"charge": "charge-7"}

    shop.bank.open(reason="a test", expires=60)
    refused = client.post("/charges/7")
    assert refused.status_code == 503
    assert 50 < int(refused.headers["Retry-After"]) <= 60
    assert client.post("/orders/8").status_code == 202


def test_the_dashboard_is_carried(shop: ModuleType) -> None:
    client = TestClient(shop.api, base_url="http://shop.example")
    assert client.get("/breakers/").status_code == 401
    assert client.get("/breakers/", auth=("eve", "secret")).status_code == 200
