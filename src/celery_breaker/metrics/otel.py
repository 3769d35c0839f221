"""Figures for OpenTelemetry, and events on the user's spans (extra: ``opentelemetry``)."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from opentelemetry import metrics as otel_metrics
from opentelemetry import trace
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from celery_breaker.core.events import Change
from celery_breaker.core.record import State
from celery_breaker.engine.meters import Meter
from celery_breaker.metrics.counting import Counting
from celery_breaker.metrics.labels import LIMIT, Labels
from celery_breaker.metrics.source import Measured, Source
from celery_breaker.metrics.table import METRICS, Kind, Metric

__all__ = ["Instrumented", "instrument"]

_SCOPE = "celery_breaker"

_EVENTS = {State.OPEN: "breaker.opened", State.HALF_OPEN: "breaker.half_opened", State.CLOSED: "breaker.closed"}


def _name(metric: Metric) -> str:
    """Without the suffixes: exporters to Prometheus add these by themselves, and arrive at the names of the table."""
    return f"celery_breaker.{metric.key}"


class _Instruments:
    """The instruments of one meter provider, for all that is measured with it: made once, or the SDK complains."""

    def __init__(self, provider: MeterProvider) -> None:
        meter = provider.get_meter(_SCOPE)
        self.measured: list[Measured] = []
        self.counters = {
            metric.key: meter.create_counter(_name(metric), description=metric.help)
            for metric in METRICS
            if metric.kind is Kind.COUNTER
        }
        self.histograms = {
            metric.key: meter.create_histogram(
                _name(metric),
                unit="s",
                description=metric.help,
                explicit_bucket_boundaries_advisory=list(metric.buckets),
            )
            for metric in METRICS
            if metric.kind is Kind.HISTOGRAM
        }
        for metric in METRICS:
            if metric.kind is Kind.GAUGE:
                unit = "s" if metric.seconds else ""
                callbacks = [partial(self._observe, metric)]
                meter.create_observable_gauge(_name(metric), callbacks, unit=unit, description=metric.help)

    def _observe(self, metric: Metric, _options: CallbackOptions) -> Iterator[Observation]:
        for measured in tuple(self.measured):
            for figure in measured.gauges():
                if figure.metric is metric:
                    yield Observation(figure.value, _attributes(metric, figure.labels))


_instruments: weakref.WeakKeyDictionary[MeterProvider, _Instruments] = weakref.WeakKeyDictionary()


class _Counts(Counting):
    """Adds what this process does to the instruments."""

    def __init__(self, instruments: _Instruments, labels: Labels) -> None:
        super().__init__(labels)
        self._instruments = instruments

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """See `Counting.count`; what was never added to does not show."""
        if by:
            self._instruments.counters[metric.key].add(by, _attributes(metric, labels))

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Counting.observe`."""
        self._instruments.histograms[metric.key].record(value, _attributes(metric, labels))


def _attributes(metric: Metric, labels: Sequence[str]) -> dict[str, str]:
    return dict(zip(metric.labels, labels, strict=True))


class _SpanEvents(Meter):
    """Adds events to the span that is current where something happens, if one is recording."""

    survives_fork = True

    def refused(self, name: str, retry_after: float | None) -> None:
        """See `Meter.refused`."""
        _event("breaker.refused", name, retry_after=retry_after)

    def changed(self, change: Change) -> None:
        """See `Meter.changed`."""
        event = "breaker.overridden" if change.tuning is None else "breaker.tuned"
        if change.moved:
            event = _EVENTS[change.after]
        mode, generation = str(change.mode_after), change.generation
        _event(event, change.name, mode=mode, generation=generation, reason=change.reason, by=change.by)

    def deferred(self, name: str, action: str) -> None:
        """See `Meter.deferred`."""
        _event("breaker.deferred", name, action=action)


def _event(event: str, name: str, **more: str | float | None) -> None:
    span = trace.get_current_span()
    if span.is_recording():
        known = {f"breaker.{key}": value for key, value in more.items() if value is not None and value != ""}
        span.add_event(event, {"breaker.name": name, **known})


class Instrumented:
    """What `instrument` has switched on.

    Example:
        >>> from celery_breaker.engine.default import registry_at
        >>> instrument(registry_at("memory://")).stop()
    """

    def __init__(self, measured: Measured, provider: MeterProvider) -> None:
        if (instruments := _instruments.get(provider)) is None:
            instruments = _instruments[provider] = _Instruments(provider)
        self._measured = measured
        self._observed = instruments.measured
        self._meters = (_Counts(instruments, measured.labels), _SpanEvents())
        self._observed.append(measured)
        for meter in self._meters:
            measured.registry.meters.add(meter)

    def stop(self) -> None:
        """Switch it off: no more figures, no more events."""
        if self._measured in self._observed:
            self._observed.remove(self._measured)
        for meter in self._meters:
            self._measured.registry.meters.remove(meter)
        self._measured.stop()


def instrument(
    source: Source | None = None,
    *,
    meter_provider: MeterProvider | None = None,
    names: Iterable[str] | None = None,
    limit: int = LIMIT,
) -> Instrumented:
    """Give the figures of breakers to OpenTelemetry, and events to the spans that are current where they happen.

    The setting ``breaker_opentelemetry`` does this for an app. A forked child keeps the events, but not the figures,
    for the SDK's locks may not survive: call this anew there, with a provider that was made there, to have them.

    Args:
        source, names, limit: see `celery_breaker.metrics.prometheus.BreakerCollector`.
        meter_provider: ``None`` takes OpenTelemetry's global one.

    Raises:
        ConfigurationError: ``names`` or ``limit`` cannot be.

    Example:
        >>> from celery_breaker.engine.default import registry_at
        >>> instrumented = instrument(registry_at("memory://"), names=["smtp", "webhook:*"])
        >>> instrumented.stop()
    """
    provider = meter_provider or otel_metrics.get_meter_provider()
    return Instrumented(Measured(source, Labels(names=names, limit=limit)), provider)
