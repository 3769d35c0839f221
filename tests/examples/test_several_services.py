"""docs/examples/several_services.py does what the page says."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest

from celery_breaker.core.classify import judge
from celery_breaker.core.verdict import Verdict
from celery_breaker.plugin.app import breakers_of
from tests.examples import load
from tests.support.servers import RedisServer


@pytest.fixture(scope="module")
def shop(redis_server: RedisServer) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELERY_BROKER_URL", redis_server.url_for(5))
        example = load("several_services")
        yield example
    redis_server.client(5).flushdb()
    breakers_of(example.app).forget()


def test_each_breaker_counts_its_own_kind_of_failure(shop: ModuleType) -> None:
    policies = breakers_of(shop.app).policies
    assert policies.guarded[shop.sync.name] == ("crm", "billing")
    assert judge(shop.CrmError(), policies.of("crm")) is Verdict.FAILURE
    assert judge(shop.CrmError(), policies.of("billing")) is Verdict.SUCCESS
    assert judge(shop.BillingError(), policies.of("crm")) is Verdict.SUCCESS


def test_a_review_goes_on_without_a_score(shop: ModuleType) -> None:
    shop.scoring.reset()
    assert shop.review.run(1) == 700
    shop.scoring.open(reason="a test", expires=60)
    assert shop.review.run(1) is None
