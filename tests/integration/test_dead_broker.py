"""The broker behind a breaker: while it is dead, who publishes is refused at once, and goes on when it is back."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from celery_breaker import Breaker, BreakerOpen
from tests.support.waiting import eventually

POLICY = {
    "failures": ["kombu.exceptions.OperationalError"],
    "max_failures": 3,
    "failure_rate": 0,
    "recovery_timeout": 2,
    "backoff": "constant",
}


@pytest.fixture(params=["redis", "rabbitmq"])
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"make_{request.param}")()


@pytest.mark.parametrize("scope", ["fleet", "worker"])
def test_a_dead_broker_costs_a_publisher_next_to_nothing_and_is_found_again(
    server: Any, make_app: Callable[[Mapping[str, Any]], Celery], scope: str
) -> None:
    """The store is on the same server, or the peers are reached by it, and so it is away too."""
    server.start()
    url = server.url
    app = make_app({"broker_url": url, "imports": [], "breakers": {"broker": {**POLICY, "scope": scope}}})
    breaker = Breaker("broker")

    def publish() -> str:
        try:
            with breaker:
                app.send_task("tests.none")
        except BreakerOpen:
            return "refused"
        except OperationalError:
            return "failed"
        return "published"

    for _ in range(10):
        assert publish() == "published"
    server.kill()
    took: dict[str, list[float]] = {"failed": [], "refused": [], "published": []}
    eventually(lambda: _timed(publish, took) == "refused", "the breaker should trip", timeout=60)
    while len(took["refused"]) < 500:
        _timed(publish, took)
    assert statistics.median(took["refused"]) < min(took["failed"][:3]) / 20
    assert max(took["refused"]) < 1.0
    server.start()
    eventually(lambda: publish() == "published", "it should go on", timeout=60)
    eventually(lambda: str(breaker.state) == "closed", "the breaker should close", timeout=60)


def _timed(publish: Callable[[], str], took: dict[str, list[float]]) -> str:
    started = time.perf_counter()
    said = publish()
    took[said].append(time.perf_counter() - started)
    return said
