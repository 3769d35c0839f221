"""docs/examples/bad_worker.py does what the page says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.examples import load
from tests.support.breakers import breaker_in
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory


@pytest.mark.integration
def test_the_others_draw_what_the_broken_one_does_not(
    worker_factory: WorkerFactory, redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = redis_server.url_for(8)
    monkeypatch.setenv("STUDIO_BROKER", url)
    workers = [
        worker_factory(
            app="docs.examples.bad_worker:app", env={"STUDIO_BROKER": url, "GPU": state}, queues=["gpu"], wait=False
        )
        for state in ("broken", "fine", "fine")
    ]
    for worker in workers:
        worker.wait_for_log("ready")
    bad, *others = workers
    app = load("bad_worker").app
    app.set_current()
    sent = 0
    while "queue 'gpu' is paused by breaker 'gpu-here'" not in bad.logs():
        assert sent < 2000, "it should have taken three by now"
        app.send_task("studio.render", (sent,), queue="gpu")
        sent += 1

    def drawn() -> int:
        return sum(worker.logs().count("is drawn") for worker in others)

    eventually(lambda: drawn() == sent, "all scenes should be drawn", timeout=60)
    assert breaker_in(app, "gpu").state == "closed"
    assert "paused" not in "".join(worker.logs() for worker in others)
