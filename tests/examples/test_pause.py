"""docs/examples/pause.py does what the page says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.examples import load
from tests.support.breakers import breaker_in
from tests.support.workers import WorkerFactory


@pytest.mark.integration
def test_the_mail_queue_alone_is_paused(
    worker_factory: WorkerFactory, redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = redis_server.url_for(7)
    monkeypatch.setenv("SHOP_BROKER", url)
    queues = ["mail", "celery"]
    worker = worker_factory(app="docs.examples.pause:app", env={"SHOP_BROKER": url}, queues=queues, wait=False)
    worker.wait_for_log("ready")
    app = load("pause").app
    app.set_current()
    smtp = breaker_in(app, "smtp")
    smtp.breaker.open(reason="maintenance")
    worker.wait_for_log("queue 'mail' is paused by breaker 'smtp'")
    app.send_task("shop.send", ("a@example.org", "hello"), queue="mail")
    app.send_task("shop.count", ("one two",))
    worker.wait_for_log(r"Task shop.count\[[^]]*\] succeeded")
    with redis_server.client(7) as client:
        assert client.llen("mail") == 1
    smtp.breaker.auto()
    worker.wait_for_log("queue 'mail' is consumed again")
