"""Figures for Prometheus: what a scrape says after a short life, and what it costs."""

from __future__ import annotations

import logging
import socket
import sys
import urllib.request

import pytest
from prometheus_client import CollectorRegistry

from celery_breaker.errors import ConfigurationError
from celery_breaker.metrics.prometheus import BreakerCollector, exposition, serve
from celery_breaker.metrics.table import METRICS, Kind
from celery_breaker.plugin import exports
from celery_breaker.settings import Settings
from celery_breaker.status import WorkerSeen, actions
from celery_breaker.status.sampler import Sampler
from tests.engine.world import World, fail, succeed
from tests.metrics.history import live
from tests.metrics.scrapes import Scrape, parsed
from tests.status.desks import QUICK, Declared, Office, office
from tests.support.forks import held_by_a_thread, in_child
from tests.support.waiting import eventually

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@pytest.fixture
def at() -> Office:
    return office()


@pytest.fixture
def sampler(at: Office) -> Sampler:
    return Sampler(at.desk, clock=at.clock)


def scrape(collector: BreakerCollector, accept: str = "") -> Scrape:
    return parsed(*exposition(collector, accept))


# --- what is told -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["", OPENMETRICS], ids=["text", "openmetrics"])
def test_a_scrape_tells_a_short_life(at: Office, sampler: Sampler, accept: str) -> None:
    collector = BreakerCollector(sampler)
    live(at)
    sampler.look()
    said = scrape(collector, accept)
    states = {
        state: said("celery_breaker_state", name="smtp", state=state) for state in ("closed", "open", "half_open")
    }
    assert states == {"closed": 0, "open": 1, "half_open": 0}
    assert said("celery_breaker_mode", name="crm", mode="forced_open") == 1
    assert said("celery_breaker_mode", name="crm", mode="auto") == 0
    assert said("celery_breaker_trips", name="smtp") == 2
    assert said("celery_breaker_retry_after_seconds", name="smtp") == 60
    assert said("celery_breaker_retry_after_seconds", name="crm") is None, "nobody knows"
    assert said("celery_breaker_parked", name="smtp") == 7
    assert said("celery_breaker_oldest_parked_seconds", name="smtp") == 12
    assert said("celery_breaker_oldest_parked_seconds", name="crm") is None
    assert said("celery_breaker_store_connected") == 1
    assert said("celery_breaker_calls_total", name="smtp") == 6
    assert said("celery_breaker_failures_total", name="smtp") == 4
    assert said("celery_breaker_slow_calls_total", name="smtp") == 0
    assert said("celery_breaker_permits_total", name="smtp") == 1
    assert said("celery_breaker_transitions_total", name="smtp", state="open") == 2
    assert said("celery_breaker_transitions_total", name="smtp", state="half_open") == 1
    assert said("celery_breaker_transitions_total", name="smtp", state="closed") == 0


def test_windows_are_gauges_of_the_whole_fleet(at: Office, sampler: Sampler) -> None:
    collector = BreakerCollector(sampler)
    sampler.look()  # windows of quiet breakers have their turn from the second look on
    succeed(at.registry, 4)
    fail(at.registry, 2)
    sampler.look()
    said = scrape(collector)
    assert said("celery_breaker_window_calls", name="smtp") == 6
    assert said("celery_breaker_window_failures", name="smtp") == 2
    assert said("celery_breaker_window_slow_calls", name="smtp") == 0
    at.clock.advance(QUICK.window.span + 1)
    sampler.look()
    assert scrape(collector)("celery_breaker_window_calls", name="smtp") == 0


def test_workers_are_counted_and_the_latest_round_of_an_agent_is_known(at: Office, sampler: Sampler) -> None:
    collector = BreakerCollector(sampler)
    sampler.look()
    assert scrape(collector)("celery_breaker_workers") is None, "this broker cannot ask them"

    def worker(name: str, *, connected: bool, tended: float | None) -> WorkerSeen:
        return WorkerSeen(
            name=name, store="redis://", connected=connected, view_age=0.2, agent=tended is not None, tended=tended
        )

    at.crew.seen = [
        worker("w1", connected=True, tended=90.0),
        worker("w2", connected=False, tended=4.0),
        worker("w3", connected=True, tended=None),
    ]
    sampler._ask()
    sampler.look()
    said = scrape(collector)
    assert (said("celery_breaker_workers"), said("celery_breaker_workers_cut_off")) == (3, 1)
    assert said("celery_breaker_agent_tended_age_seconds") == 4


def test_a_broker_that_is_away_leaves_the_backlog_untold(at: Office, sampler: Sampler) -> None:
    collector = BreakerCollector(sampler)
    at.lots.down = True
    sampler.look()
    said = scrape(collector)
    assert said("celery_breaker_parked", name="smtp") is None
    assert said("celery_breaker_state", name="smtp", state="closed") == 1


def test_a_process_tells_what_it_knows_of_its_own_breakers() -> None:
    world = World()
    registry = world.process()
    collector = BreakerCollector(registry)
    fail(registry, 3)
    registry.refresh()
    world.clock.advance(2.5)
    registry.meters.tended()
    world.clock.advance(1.5)
    said = scrape(collector)
    assert said("celery_breaker_state", name="smtp", state="open") == 1
    assert said("celery_breaker_view_age_seconds") == 4
    assert said("celery_breaker_agent_tended_age_seconds") == 1.5
    assert said("celery_breaker_parked", name="smtp") is None, "the desk knows, a worker does not"
    assert said("celery_breaker_window_calls", name="smtp") is None


def test_a_process_that_is_cut_off_says_so() -> None:
    world = World()
    registry = world.process()
    collector = BreakerCollector(registry)
    fail(registry)
    world.server.down = True
    world.clock.advance(2)
    registry.work()
    said = scrape(collector)
    assert said("celery_breaker_store_connected") == 0
    assert said("celery_breaker_store_errors_total", operation="read") == 1
    assert said("celery_breaker_store_errors_total", operation="tally") == 0


def test_what_became_of_tasks_is_told_by_breaker(at: Office, sampler: Sampler) -> None:
    collector = BreakerCollector(sampler)
    meters = at.registry.meters
    for _ in range(3):
        meters.deferred("smtp", "park")
    meters.deferred("smtp", "fail")
    at.lots.park("smtp", 5)
    at.desk.release("smtp", 2, by="eve")
    said = scrape(collector)
    assert said("celery_breaker_deferred_total", name="smtp", action="park") == 3
    assert said("celery_breaker_deferred_total", name="smtp", action="fail") == 1
    assert said("celery_breaker_released_total", name="smtp") == 2


def test_every_metric_of_the_table_is_told_with_its_kind_and_nothing_else(at: Office, sampler: Sampler) -> None:
    collector = BreakerCollector(sampler)
    at.crew.seen = [WorkerSeen(name="w", store="s", connected=True, view_age=0.0, agent=True, tended=1.0)]
    live(at)
    at.registry.meters.refused("smtp", 3.0)
    at.registry.meters.deferred("smtp", "park")
    at.registry.meters.released("smtp", 1)
    at.registry.meters.bus_delayed(0.003)
    sampler._ask()
    sampler.look()
    body, kind = exposition(collector, OPENMETRICS)
    assert parsed(body, kind).types == {metric.stem: str(metric.kind) for metric in METRICS}
    text, _ = exposition(collector)
    told = {line.split()[2]: line.split(" ", 3)[3] for line in text.decode().splitlines() if line.startswith("# HELP")}
    assert told == {metric.name: metric.help for metric in METRICS}
    assert b"_created" not in text


@pytest.mark.parametrize(
    "accept", ["*/*", "", "application/openmetrics-text", "application/openmetrics-text; version=x", ";;=,", "\xff"]
)
def test_any_accept_header_is_answered(at: Office, sampler: Sampler, accept: str) -> None:
    live(at)
    sampler.look()
    assert scrape(BreakerCollector(sampler), accept)("celery_breaker_state", name="smtp", state="open") == 1


def test_names_that_need_escaping_come_through(at: Office, sampler: Sampler) -> None:
    name = 'webhook:"a"\\b{x}é'
    collector = BreakerCollector(sampler)
    fail(at.registry, 3, name)
    sampler.look()
    for accept in ("", OPENMETRICS):
        assert scrape(collector, accept)("celery_breaker_state", name=name, state="open") == 1


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_a_scrape_makes_no_store_command(at: Office, sampler: Sampler) -> None:
    collector, own = BreakerCollector(sampler), BreakerCollector(at.registry)
    live(at)
    sampler.look()
    at.server.calls.clear()
    looks = at.lots.looks
    for _ in range(10):
        scrape(collector)
        scrape(own)
    assert (at.server.calls, at.lots.looks) == ([], looks)


def test_registering_a_collector_asks_nobody_and_names_what_it_will_tell(at: Office, sampler: Sampler) -> None:
    at.server.calls.clear()
    registry = CollectorRegistry(auto_describe=True)
    registry.register(BreakerCollector(sampler))
    assert at.server.calls == []
    with pytest.raises(ValueError, match="celery_breaker_state"):
        registry.register(BreakerCollector(sampler))


def test_ten_thousand_breakers_have_few_labels_and_none_is_left_out() -> None:
    names = [f"webhook:{number:05}" for number in range(10_000)]
    at = office(Declared(declared=dict.fromkeys(names, QUICK)))
    sampler = Sampler(at.desk, clock=at.clock)
    collector = BreakerCollector(sampler, limit=50)
    for number in (7_777, 9_999):
        fail(at.registry, 3, names[number])
    at.lots.park(names[7_777], 3)
    at.lots.park(names[5_000], 4)
    sampler.look()
    said = scrape(collector)
    assert len(said.names()) == 51
    assert {names[7_777], names[9_999], names[5_000], names[0], "other"} <= said.names(), "who is in trouble is named"
    assert said("celery_breaker_state", name=names[7_777], state="open") == 1
    assert said("celery_breaker_state", name="other", state="closed") == 9_950
    assert said("celery_breaker_state", name="other", state="open") == 0
    assert said("celery_breaker_parked", name="other") == 0
    assert len(said.values) < 1_500


def test_of_breakers_without_a_label_numbers_are_added_and_times_are_the_longest(at: Office, sampler: Sampler) -> None:
    collector = BreakerCollector(sampler, limit=0)
    fail(at.registry, 3, "smtp")
    at.clock.advance(10)
    fail(at.registry, 3, "crm")
    at.lots.park("smtp", 2, since=at.clock() - 9)
    at.lots.park("crm", 3, since=at.clock() - 5)
    sampler.look()
    said = scrape(collector)
    assert said.names() == {"other"}
    assert said("celery_breaker_state", name="other", state="open") == 2
    assert said("celery_breaker_parked", name="other") == 5
    assert said("celery_breaker_oldest_parked_seconds", name="other") == 9
    assert said("celery_breaker_retry_after_seconds", name="other") == 30
    assert said("celery_breaker_trips", name="other") == 1
    assert said("celery_breaker_calls_total", name="other") == 6


def test_patterns_choose_who_has_a_label(at: Office, sampler: Sampler) -> None:
    collector = BreakerCollector(sampler, names=["s*", "webhook:a"])
    for name in ("smtp", "crm", "webhook:a", "webhook:b"):
        fail(at.registry, 1, name)
    sampler.look()
    said = scrape(collector)
    assert said.names() == {"smtp", "webhook:a", "other"}
    assert said("celery_breaker_failures_total", name="other") == 2


def test_a_breaker_that_is_called_other_stays_apart_from_nobody(at: Office, sampler: Sampler) -> None:
    collector = BreakerCollector(sampler, limit=1)
    for name in ("other", "smtp"):
        fail(at.registry, 1, name)
    sampler.look()
    assert scrape(collector)("celery_breaker_failures_total", name="other") in (1, 2)


def test_a_counter_keeps_its_label_when_others_are_in_trouble(at: Office, sampler: Sampler) -> None:
    collector = BreakerCollector(sampler, limit=1)
    fail(at.registry, 1, "smtp")
    before = scrape(collector)
    fail(at.registry, 3, "crm")
    sampler.look()
    after = scrape(collector)
    assert before("celery_breaker_failures_total", name="smtp") == 1
    assert after("celery_breaker_failures_total", name="smtp") == 1
    assert after("celery_breaker_failures_total", name="other") == 3
    assert after("celery_breaker_state", name="crm", state="open") == 1, "gauges name who is in trouble"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": "smtp"}, r"names='smtp' must be several"),
        ({"limit": -1}, "limit=-1"),
        ({"limit": True}, "limit=True"),
    ],
)
def test_labels_that_cannot_be_are_refused(at: Office, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        BreakerCollector(at.registry, **options)  # type: ignore[arg-type]


# --- counters ---------------------------------------------------------------------------------------------------------


def test_counters_never_go_down(at: Office, sampler: Sampler) -> None:
    collector = BreakerCollector(sampler, limit=3)
    counters = {metric.name for metric in METRICS if metric.kind is Kind.COUNTER}
    before: dict[object, float] = {}
    for turn in range(6):
        fail(at.registry, 3, f"webhook:{turn}")
        fail(at.registry, 1, "smtp")
        at.desk.act("smtp", actions.reset(by="eve"))
        if turn == 3:
            at.registry.forget("webhook:0")
        at.clock.advance(20)
        at.registry.work()
        sampler.look()
        now = {key: value for key, value in scrape(collector).values.items() if key[0] in counters}
        assert all(now.get(key, -1.0) >= value for key, value in before.items())
        assert sum(now.values()) > sum(before.values())
        before = dict(now)


def test_two_collectors_of_one_process_count_each_for_itself_and_stop_when_closed(at: Office) -> None:
    one, other = BreakerCollector(at.registry), BreakerCollector(at.registry)
    fail(at.registry, 1)
    other.close()
    fail(at.registry, 1)
    assert scrape(one)("celery_breaker_calls_total", name="smtp") == 2
    assert scrape(other)("celery_breaker_calls_total", name="smtp") == 1
    one.close()
    assert not at.registry.meters


def test_round_trips_are_timed_by_operation(at: Office) -> None:
    collector = BreakerCollector(at.registry)
    at.server.before = lambda operation: at.clock.advance(0.004 if operation == "tally" else 0.0)
    fail(at.registry, 1)
    said = scrape(collector)
    trips = "celery_breaker_store_round_trip_seconds"
    assert said(f"{trips}_count", operation="tally") == 1
    assert said(f"{trips}_sum", operation="tally") == pytest.approx(0.004, abs=1e-6)
    assert said(f"{trips}_bucket", operation="tally", le="0.002") == 0
    assert said(f"{trips}_bucket", operation="tally", le="0.005") == 1


def test_a_forked_child_counts_anew_and_waits_for_no_lock(at: Office) -> None:
    collector = BreakerCollector(at.registry)
    fail(at.registry, 2)

    def in_the_child() -> list[float | None]:
        before = scrape(collector)("celery_breaker_calls_total", name="smtp")
        at.registry.meters.called("smtp", calls=1, failures=0, slow=0)
        return [before, scrape(collector)("celery_breaker_calls_total", name="smtp")]

    counter = collector._counts._counters["calls"].labels("smtp")
    with held_by_a_thread(counter._value._lock):
        assert in_child(in_the_child) == "[None, 1.0]"
    assert scrape(collector)("celery_breaker_calls_total", name="smtp") == 2


# --- desks and ports --------------------------------------------------------------------------------------------------


def test_a_desk_is_looked_at_by_a_sampler_of_its_own(at: Office) -> None:
    collector = BreakerCollector(at.desk)
    try:
        fail(at.registry, 3)
        eventually(
            lambda: scrape(collector)("celery_breaker_state", name="smtp", state="open") == 1, "it should be seen"
        )
    finally:
        collector.close()


def test_a_port_can_be_scraped_until_it_is_closed(at: Office) -> None:
    fail(at.registry, 3)
    served = serve(0, address="127.0.0.1", source=at.registry)
    url = f"http://127.0.0.1:{served.port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        said = parsed(answer.read(), answer.headers["Content-Type"])
    assert said("celery_breaker_state", name="smtp", state="open") == 1
    served.stop()
    assert not at.registry.meters
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=10)


@pytest.mark.parametrize("accept", ["application/openmetrics-text; version=x", ";;=,", OPENMETRICS])
def test_a_port_answers_any_accept_header(at: Office, accept: str) -> None:
    served = serve(0, address="127.0.0.1", source=at.registry)
    try:
        request = urllib.request.Request(f"http://127.0.0.1:{served.port}/metrics", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=10) as answer:
            said = parsed(answer.read(), answer.headers["Content-Type"])
        assert said("celery_breaker_store_connected") == 1
    finally:
        served.stop()


def test_a_port_that_is_taken_is_one_line_and_no_failure(at: Office, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(metrics_port=port, metrics_address="127.0.0.1")
        with caplog.at_level(logging.INFO):
            assert exports.open_port(at.registry, settings) is None
    [line] = caplog.messages
    assert f"port {port} at 127.0.0.1 cannot be had" in line
    assert not at.registry.meters


def test_without_a_setting_there_is_no_port(at: Office) -> None:
    exports.check(Settings())
    assert exports.open_port(at.registry, Settings()) is None
    assert not at.registry.meters


def test_an_extra_that_is_missing_is_said_before_the_worker_starts(monkeypatch: pytest.MonkeyPatch, at: Office) -> None:
    monkeypatch.setitem(sys.modules, "celery_breaker.metrics.prometheus", None)
    monkeypatch.setitem(sys.modules, "celery_breaker.metrics.otel", None)
    with pytest.raises(ConfigurationError, match=r'pip install "celery-breaker\[prometheus\]"'):
        exports.check(Settings(metrics_port=9100))
    with pytest.raises(ConfigurationError, match=r'pip install "celery-breaker\[opentelemetry\]"'):
        exports.opentelemetry(at.registry, Settings(opentelemetry=True))
