"""``/metrics`` of the dashboard: behind its guard, on its sampler."""

from __future__ import annotations

import sys

import pytest

from celery_breaker.metrics.prometheus import exposing
from celery_breaker.plugin import exports
from celery_breaker.web.scrape import metrics_route
from tests.engine.world import fail
from tests.metrics.scrapes import Scrape, parsed
from tests.web.desks import Room, client_of, room

BASE = "http://localhost:5556"


def dashboard(**options: object) -> Room:
    return room(routes=[metrics_route(exposing)], **options)


def scrape(here: Room, **headers: str) -> Scrape:
    answer = client_of(here.app, base_url=BASE).get("/metrics", headers=headers)
    assert answer.status_code == 200
    return parsed(answer.content, answer.headers["content-type"])


@pytest.mark.parametrize(
    "accept", ["", "application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=x"]
)
def test_it_tells_what_the_dashboard_sees(accept: str) -> None:
    here = dashboard()
    fail(here.at.registry, 3)
    here.at.lots.park("smtp", 4)
    here.sampler.look()
    said = scrape(here, accept=accept)
    assert said("celery_breaker_state", name="smtp", state="open") == 1
    assert said("celery_breaker_parked", name="smtp") == 4


def test_counters_go_on_from_scrape_to_scrape() -> None:
    here = dashboard()
    scrape(here)
    here.at.registry.meters.released("smtp", 2)
    assert scrape(here)("celery_breaker_released_total", name="smtp") == 2
    here.at.registry.meters.released("smtp", 3)
    assert scrape(here)("celery_breaker_released_total", name="smtp") == 5


def test_a_scrape_costs_the_store_nothing() -> None:
    here = dashboard()
    scrape(here)
    here.at.server.calls.clear()
    for _ in range(5):
        scrape(here)
    assert here.at.server.calls == []


def test_it_stands_behind_the_login() -> None:
    here = dashboard(tokens=("t",))
    client = client_of(here.app, base_url=BASE)
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer t"}).status_code == 200


def test_it_stays_up_while_the_store_is_away() -> None:
    here = dashboard()
    scrape(here)
    here.at.server.down = True
    here.at.clock.advance(5)
    here.sampler.look()
    said = scrape(here)
    assert said("celery_breaker_store_connected") == 0
    assert said("celery_breaker_view_age_seconds") == 5
    assert said("celery_breaker_store_errors_total", operation="names") == 1


def test_nothing_but_a_look_is_allowed() -> None:
    client = client_of(dashboard(allow_actions=True).app, base_url=BASE)
    assert client.head("/metrics").status_code == 200
    assert client.post("/metrics", headers={"Origin": BASE}).status_code in (403, 405)


def test_without_the_extra_there_is_no_exposer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exports.exposer() is exposing
    monkeypatch.setitem(sys.modules, "celery_breaker.metrics.prometheus", None)
    assert exports.exposer() is None
