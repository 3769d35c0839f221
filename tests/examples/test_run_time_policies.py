"""docs/examples/run_time_policies.py does what the page says."""

from __future__ import annotations

from celery_breaker.plugin.app import breakers_of
from tests.examples import load
from tests.support.servers import RedisServer


def test_a_policy_is_changed_and_taken_back(redis_server: RedisServer) -> None:
    example = load("run_time_policies")
    example.app.conf.breaker_store = redis_server.url_for(3)
    desk = breakers_of(example.app).desk
    try:
        assert example.tolerate(desk, 20) == 20
        assert breakers_of(example.app).desk.statuses(["bank"])[0].tuning == {"max_failures": 20}
        assert example.as_the_app_says(desk) == 5
    finally:
        desk.registry.forget("bank")
        breakers_of(example.app).forget()
