"""docs/examples/publishing.py does what the page says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery_breaker import Breaker
from tests.examples import current, load
from tests.support.waiting import eventually


def test_each_mail_fares_as_its_task_says_and_a_dead_broker_holds_nobody_up(make_redis: Callable[..., Any]) -> None:
    server = make_redis()
    server.start()
    example = load("publishing")
    example.app.conf.broker_url = server.url
    with current(example.app):
        assert (example.place(1), example.log_in("ann")) == ("published", "look into your mail")
        Breaker("smtp").open(expires=60)
        assert example.log_in("bob").startswith("no code can be sent, try again in ")
        assert example.newsletter.delay("cy").get() == "cy gets no newsletter: smtp is down"
        assert example.place(2) == "published"
        with server.client() as client:
            assert client.llen("celery") == 2
            assert client.llen("celery_breaker.parked.smtp") == 1
        server.kill()
        eventually(lambda: example.place(3) == "kept" and example.broker.retry_after > 0, "it should have tripped")
        server.start()
        eventually(lambda: example.place(4) == "published", "it should go on when the broker is back", timeout=60)
        assert set(example.outbox) == {3, 4} or set(example.outbox) == {3}
