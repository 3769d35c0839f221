"""A worker that is scraped before, during and after an outage, as Prometheus would."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from celery_breaker.plugin.app import breakers_of
from celery_breaker.status.sampler import Sampler
from tests.integration import guarded
from tests.metrics.scrapes import Scrape, parsed
from tests.support.breakers import breaker_in, conf, tripped, values
from tests.support.processes import Process, free_port
from tests.support.servers import RedisServer
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory, celery_argv, environment


def scrape(port: int) -> Scrape:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return parsed(answer.read(), answer.headers["Content-Type"])


@pytest.mark.parametrize(("broker", "pool"), [("redis", "prefork"), ("rabbitmq", "threads")])
def test_a_worker_is_scraped_through_an_outage(
    worker_factory: WorkerFactory, service: Service, redis_server: RedisServer, broker: str, pool: str
) -> None:
    port = free_port()
    worker = worker_factory(broker=broker, pool=pool, conf=conf(redis_server, breaker_metrics_port=port))
    worker.wait_for_log(rf"metrics are served on port {port}")
    seen = breaker_in(worker.app, "svc")

    def told(metric: str, **labels: str) -> float:
        return scrape(port)(f"celery_breaker_{metric}", **labels) or 0.0

    before = [guarded.call.delay(service.folder, number) for number in range(5)]
    assert values(before, timeout=30) == list(range(5))
    eventually(lambda: told("calls_total", name="svc") == 5, "five calls should be counted", timeout=20)
    assert told("state", name="svc", state="closed") == 1
    assert told("store_connected") == 1
    assert told("failures_total", name="svc") == 0

    tripped(seen, service, task=guarded.call)
    eventually(lambda: told("state", name="svc", state="closed") == 0, "the trip should show", timeout=20)
    waiting = [guarded.call.delay(service.folder, number) for number in range(5, 15)]
    eventually(lambda: told("deferred_total", name="svc", action="park") >= 10, "deferrals should show", timeout=20)
    assert told("failures_total", name="svc") >= 3
    assert told("transitions_total", name="svc", state="open") >= 1

    service.come_back()
    assert values(waiting, timeout=60) == list(range(5, 15))
    eventually(lambda: told("state", name="svc", state="closed") == 1, "the recovery should show", timeout=20)
    eventually(lambda: told("calls_total", name="svc") >= 18, "every call should be counted", timeout=20)
    after = scrape(port)
    assert (after("celery_breaker_released_total", name="svc") or 0) >= 10
    assert (after("celery_breaker_transitions_total", name="svc", state="closed") or 0) >= 1
    assert (after("celery_breaker_bus_delay_seconds_count") or 0) >= 3
    assert (after("celery_breaker_store_round_trip_seconds_count", operation="tally") or 0) >= 1
    assert after("celery_breaker_agent_tended_age_seconds") is not None
    worker.stop()
    with pytest.raises(OSError, match="refused"):
        scrape(port)


def test_a_second_worker_on_the_same_port_works_all_the_same(
    worker_factory: WorkerFactory, service: Service, redis_server: RedisServer
) -> None:
    port = free_port()
    settings = conf(redis_server, breaker_metrics_port=port)
    first = worker_factory(conf=settings)
    first.wait_for_log(r"metrics are served on port")
    second = worker_factory(conf=settings)
    second.wait_for_log(rf"port {port} at 0\.0\.0\.0 cannot be had")
    assert "Traceback" not in second.logs()
    first.stop()
    assert second.app.send_task("guarded.once", (service.folder, 1)).get(timeout=20) == 1
    assert second.running


def test_the_dashboard_is_scraped(
    worker_factory: WorkerFactory, service: Service, redis_server: RedisServer, tmp_path: Path
) -> None:
    worker = worker_factory(conf=conf(redis_server))
    port = free_port()
    argv = celery_argv("breaker", "web", "--port", str(port))
    dashboard = Process(argv, name="dashboard", log=tmp_path / "dashboard.log", env=environment(worker.conf, None))
    worker_factory.keep(dashboard)
    dashboard.start()
    dashboard.wait_for_log(r"Dashboard on http://")
    assert "prometheus_client" not in dashboard.logs()
    tripped(breaker_in(worker.app, "svc"), service)
    eventually(lambda: scrape(port)("celery_breaker_trips", name="svc"), "the trip should be told", timeout=20)
    eventually(lambda: scrape(port)("celery_breaker_workers") == 1, "the worker should be counted", timeout=20)


def test_a_sampler_sees_the_workers_of_a_fleet(
    worker_factory: WorkerFactory, service: Service, redis_server: RedisServer
) -> None:
    from celery_breaker.metrics.prometheus import BreakerCollector, exposition

    worker = worker_factory(conf=conf(redis_server))
    seen = breaker_in(worker.app, "svc")
    sampler = Sampler(breakers_of(worker.app).desk)
    collector = BreakerCollector(sampler)
    sampler.start()
    try:
        tripped(seen, service)

        def told(metric: str, **labels: str) -> float | None:
            return parsed(*exposition(collector))(f"celery_breaker_{metric}", **labels)

        eventually(lambda: told("workers") == 1, "the worker should be seen", timeout=30)
        assert told("workers_cut_off") == 0
        eventually(lambda: (told("trips", name="svc") or 0) >= 1, "the trip should be seen", timeout=20)
    finally:
        sampler.stop()
        collector.close()


def test_liveness_checks_pass_while_a_breaker_is_open(
    worker_factory: WorkerFactory, service: Service, redis_server: RedisServer, tmp_path: Path
) -> None:
    """As docs/observability.md has them."""
    settings = conf(redis_server)
    worker = worker_factory(
        conf={**settings, "imports": [*settings["imports"], "tests.integration.alive"]}, env={"TMPDIR": str(tmp_path)}
    )
    alive = tmp_path / "worker-alive"
    seen = breaker_in(worker.app, "svc")
    tripped(seen, service)
    beat = alive.stat().st_mtime
    eventually(lambda: alive.stat().st_mtime > beat, "the file should be touched again", timeout=20)
    assert seen.state != "closed"
    assert worker.app.control.ping(timeout=5, destination=[worker.hostname]) == [{worker.hostname: {"ok": "pong"}}]
    worker.stop()
    assert not alive.exists()
