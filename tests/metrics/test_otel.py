"""OpenTelemetry: the figures that the SDK reads, and the events on the user's spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from celery_breaker.core.record import Mode
from celery_breaker.engine.meters import Meter
from celery_breaker.errors import BreakerOpen
from celery_breaker.metrics.otel import Instrumented, instrument
from celery_breaker.metrics.table import METRICS, Kind
from celery_breaker.plugin import exports
from celery_breaker.settings import Settings
from celery_breaker.status import WorkerSeen
from celery_breaker.status.sampler import Sampler
from tests.engine.world import SilentReporter, World, breaker_in, fail, succeed
from tests.metrics.history import live
from tests.status.desks import Office, office


class Read:
    """What the SDK's reader collects."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])

    def metrics(self) -> dict[str, Any]:
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def __call__(self, key: str, /, **labels: str) -> float | None:
        metric = self.metrics().get(f"celery_breaker.{key}")
        points = metric.data.data_points if metric is not None else []
        found = [point for point in points if dict(point.attributes) == labels]
        assert len(found) < 2, f"{key} {labels} is told twice"
        return getattr(found[0], "value", None) if found else None


@pytest.fixture
def read() -> Iterator[Read]:
    read = Read()
    yield read
    read.provider.shutdown()


@pytest.fixture
def instrumented(read: Read) -> Iterator[Callable[..., Instrumented]]:
    """`instrument` with this reader's provider; switched off at the end."""
    made: list[Instrumented] = []

    def make(source: Any, **options: Any) -> Instrumented:
        made.append(instrument(source, meter_provider=read.provider, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def at() -> Office:
    return office()


# --- figures ----------------------------------------------------------------------------------------------------------


def test_the_figures_are_those_of_prometheus(at: Office, read: Read, instrumented: Callable[..., Instrumented]) -> None:
    sampler = Sampler(at.desk, clock=at.clock)
    instrumented(sampler)
    live(at)
    sampler.look()
    assert read("state", name="smtp", state="open") == 1
    assert read("mode", name="crm", mode="forced_open") == 1
    assert read("trips", name="smtp") == 2
    assert read("retry_after", name="smtp") == 60
    assert read("parked", name="smtp") == 7
    assert read("oldest_parked", name="smtp") == 12
    assert read("calls", name="smtp") == 6
    assert read("failures", name="smtp") == 4
    assert read("permits", name="smtp") == 1
    assert read("transitions", name="smtp", state="open") == 2
    assert read("store_connected") == 1


def test_every_metric_of_the_table_is_told(at: Office, read: Read, instrumented: Callable[..., Instrumented]) -> None:
    sampler = Sampler(at.desk, clock=at.clock)
    instrumented(sampler)
    at.crew.seen = [WorkerSeen(name="w", store="s", connected=True, view_age=0.0, agent=True, tended=1.0)]
    live(at)
    meters = at.registry.meters
    meters.called("smtp", calls=1, failures=0, slow=1)
    meters.refused("smtp", 3.0)
    meters.deferred("smtp", "park")
    meters.released("smtp", 1)
    meters.bus_delayed(0.003)
    meters.store_used("read", 0.2, failed=True)
    sampler._ask()
    sampler.look()
    told = read.metrics()
    assert set(told) == {f"celery_breaker.{metric.key}" for metric in METRICS}
    for metric in METRICS:
        assert told[f"celery_breaker.{metric.key}"].unit == ("s" if metric.seconds else "")
    delay = told["celery_breaker.bus_delay"].data.data_points[0]
    (table_metric,) = [metric for metric in METRICS if metric.key == "bus_delay"]
    assert tuple(delay.explicit_bounds) == table_metric.buckets
    assert table_metric.kind is Kind.HISTOGRAM


def test_a_process_s_own_view_costs_no_store_command(read: Read, instrumented: Callable[..., Instrumented]) -> None:
    world = World()
    registry = world.process()
    instrumented(registry)
    fail(registry, 3)
    registry.meters.tended()
    world.clock.advance(2)
    world.server.calls.clear()
    assert read("state", name="smtp", state="open") == 1
    assert read("agent_tended_age") == 2
    assert world.server.calls == []


def test_labels_are_limited(at: Office, read: Read, instrumented: Callable[..., Instrumented]) -> None:
    instrumented(at.registry, names=["smtp"])
    fail(at.registry, 1, "smtp")
    for name in ("webhook:a", "webhook:b"):
        fail(at.registry, 1, name)
    assert read("failures", name="smtp") == 1
    assert read("failures", name="other") == 2
    assert read("state", name="other", state="closed") == 2


def test_what_is_switched_off_tells_nothing_and_can_be_switched_on_again(
    at: Office, read: Read, instrumented: Callable[..., Instrumented], caplog: pytest.LogCaptureFixture
) -> None:
    one = instrumented(at.registry)
    fail(at.registry, 1)
    one.stop()
    fail(at.registry, 1)
    assert read("failures", name="smtp") == 1
    assert read("store_connected") is None
    assert not at.registry.meters
    instrumented(at.registry)
    fail(at.registry, 1)
    assert read("failures", name="smtp") == 2
    assert caplog.records == [] or all("already" not in record.getMessage() for record in caplog.records)


def test_an_app_s_setting_switches_it_on(at: Office) -> None:
    assert exports.opentelemetry(at.registry, Settings()) is None
    assert not at.registry.meters
    one = exports.opentelemetry(at.registry, Settings(opentelemetry=True))
    assert one is not None
    assert at.registry.meters
    one.stop()


# --- events -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(spans: InMemorySpanExporter) -> Tracer:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider.get_tracer("tests")


def events(spans: InMemorySpanExporter) -> list[tuple[str, dict[str, object]]]:
    return [(event.name, dict(event.attributes or {})) for span in spans.get_finished_spans() for event in span.events]


def test_a_refusal_is_an_event_on_the_caller_s_span(
    at: Office, tracer: Tracer, spans: InMemorySpanExporter, instrumented: Callable[..., Instrumented]
) -> None:
    instrumented(at.registry)
    breaker = breaker_in(at.registry)
    fail(at.registry, 3)
    with tracer.start_as_current_span("request"):
        with pytest.raises(BreakerOpen):
            breaker.call(int)
        with pytest.raises(BreakerOpen), breaker:
            pass
    assert events(spans) == [("breaker.refused", {"breaker.name": "smtp", "breaker.retry_after": 30.0})] * 2


def test_a_transition_that_the_span_s_own_code_brings_about_is_an_event(
    at: Office, tracer: Tracer, spans: InMemorySpanExporter, instrumented: Callable[..., Instrumented]
) -> None:
    instrumented(at.registry)
    breaker = breaker_in(at.registry)
    with tracer.start_as_current_span("request"):
        fail(at.registry, 3)
        at.clock.advance(30)
        breaker.call(int)
        at.registry.work()
        breaker.open(reason="we move", by="eve")
        at.registry.meters.deferred("smtp", "park")
    names = [name for name, _ in events(spans)]
    assert names == [
        "breaker.opened",
        "breaker.half_opened",
        "breaker.closed",
        "breaker.overridden",
        "breaker.deferred",
    ]
    overridden = dict(events(spans))["breaker.overridden"]
    assert overridden == {
        "breaker.name": "smtp",
        "breaker.mode": str(Mode.FORCED_OPEN),
        "breaker.generation": 3,
        "breaker.reason": "we move",
        "breaker.by": "eve",
    }


def test_options_that_the_span_s_own_code_sets_are_an_event(
    at: Office, tracer: Tracer, spans: InMemorySpanExporter, instrumented: Callable[..., Instrumented]
) -> None:
    instrumented(at.registry)
    with tracer.start_as_current_span("request"):
        at.desk.tune("smtp", {"max_failures": 10}, by="eve")
    [(name, fields)] = events(spans)
    assert (name, fields["breaker.by"]) == ("breaker.tuned", "eve")


def test_calls_that_are_admitted_leave_no_event(
    at: Office, tracer: Tracer, spans: InMemorySpanExporter, instrumented: Callable[..., Instrumented]
) -> None:
    instrumented(at.registry)
    breaker = breaker_in(at.registry)
    with tracer.start_as_current_span("request"):
        breaker.call(int)
        succeed(at.registry, 3)
    assert events(spans) == []


def test_without_a_span_nothing_happens(at: Office, instrumented: Callable[..., Instrumented]) -> None:
    instrumented(at.registry)
    fail(at.registry, 3)
    with pytest.raises(BreakerOpen):
        breaker_in(at.registry).call(int)


def test_a_forked_child_keeps_the_events_and_leaves_the_figures(
    at: Office, read: Read, tracer: Tracer, spans: InMemorySpanExporter, instrumented: Callable[..., Instrumented]
) -> None:
    instrumented(at.registry)
    fail(at.registry, 3)
    at.registry.after_fork()
    at.registry.reporter = SilentReporter()  # type: ignore[assignment]
    with tracer.start_as_current_span("task"), pytest.raises(BreakerOpen):
        breaker_in(at.registry).call(int)
    assert [name for name, _ in events(spans)] == ["breaker.refused"]
    assert read("refused", name="smtp") is None


def test_without_meters_a_refusal_asks_nobody(at: Office) -> None:
    class Asked(Meter):
        def refused(self, name: str, retry_after: float | None) -> None:
            raise AssertionError("nobody is to be asked")

    asked = Asked()
    at.registry.meters.add(asked)
    at.registry.meters.remove(asked)
    fail(at.registry, 3)
    with pytest.raises(BreakerOpen):
        breaker_in(at.registry).call(int)
