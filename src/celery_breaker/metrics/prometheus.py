"""Figures for Prometheus: a collector, an exposition, and a port to scrape (extra: ``prometheus``)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from celery_breaker.metrics.counting import Counting
from celery_breaker.metrics.labels import LIMIT, Labels
from celery_breaker.metrics.source import Measured, Source
from celery_breaker.metrics.table import METRICS, Kind, Metric
from celery_breaker.status.sampler import Sampler

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__all__ = ["BreakerCollector", "Served", "exposing", "exposition", "serve"]


class BreakerCollector(Collector):
    """Breakers, for a Prometheus registry. A scrape reads memory: it costs the store nothing. Thread-safe.

    In a forked child it begins to count anew.

    Args:
        source: a `Sampler` or a `Desk` for the breakers of the whole fleet; a ``Registry``, or nothing, for those that
            this process follows. Counters are this process's own in any case.
        names: patterns such as ``"webhook:*"``; what matches none is counted under the name ``other``.
        limit: breakers with a label of their own, at most; see ``Labels``.

    Raises:
        ConfigurationError: ``names`` or ``limit`` cannot be.

    Example:
        >>> from celery_breaker.engine.default import registry_at
        >>> users_own = CollectorRegistry()
        >>> users_own.register(BreakerCollector(registry_at("memory://")))
        >>> users_own.get_sample_value("celery_breaker_store_connected")
        1.0
    """

    def __init__(self, source: Source | None = None, *, names: Iterable[str] | None = None, limit: int = LIMIT) -> None:
        self._measured = Measured(source, Labels(names=names, limit=limit))
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._counts = _Counts(self._measured.labels)
        self._measured.registry.meters.add(self._counts)

    def describe(self) -> Iterator[Family]:
        """Every family, without a value."""
        families = {
            Kind.GAUGE: GaugeMetricFamily,
            Kind.COUNTER: CounterMetricFamily,
            Kind.HISTOGRAM: HistogramMetricFamily,
        }
        for metric in METRICS:
            yield families[metric.kind](metric.stem, metric.help, labels=metric.labels)

    def collect(self) -> Iterator[Family]:
        """Every family with its values; those without any are left out."""
        if self._pid != os.getpid():
            self._begin()
        families: dict[str, GaugeMetricFamily] = {}
        for metric, labels, value in self._measured.gauges():
            if metric.key not in families:
                families[metric.key] = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            families[metric.key].add_metric(labels, value)
        yield from families.values()
        yield from self._counts.families()

    def close(self) -> None:
        """Count no more, and end what was started for this collector."""
        self._measured.registry.meters.remove(self._counts)
        self._measured.stop()


class _Counts(Counting):
    """What this process has counted, since it was asked to."""

    def __init__(self, labels: Labels) -> None:
        super().__init__(labels)
        self._counters = {
            metric.key: Counter(metric.stem, metric.help, metric.labels, registry=None)
            for metric in METRICS
            if metric.kind is Kind.COUNTER
        }
        self._histograms = {
            metric.key: Histogram(metric.stem, metric.help, metric.labels, registry=None, buckets=metric.buckets)
            for metric in METRICS
            if metric.kind is Kind.HISTOGRAM
        }

    def families(self) -> Iterator[Family]:
        for instrument in (*self._counters.values(), *self._histograms.values()):
            for family in instrument.collect():
                plain = Family(family.name, family.documentation, family.type)
                plain.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
                yield plain

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """See `Counting.count`."""
        self._counters[metric.key].labels(*labels).inc(by)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """See `Counting.observe`."""
        histogram = self._histograms[metric.key]
        (histogram.labels(*labels) if labels else histogram).observe(value)


def exposition(collector: BreakerCollector, accept: str = "") -> tuple[bytes, str]:
    """The body of an answer to a scrape, and its content type: OpenMetrics if ``accept`` asks for it, else text.

    Keep the collector from scrape to scrape: it does the counting.
    """
    encoder, content_type = choose_encoder(_readable(accept))
    return encoder(collector), content_type


def _readable(accept: str) -> str:
    """The header, or none in place of one that the client library stumbles over: a version that is no number."""
    try:
        choose_encoder(accept)
    except (TypeError, ValueError):
        return ""
    return accept


def exposing(sampler: Sampler) -> Callable[[str], tuple[bytes, str]]:
    """An ``exposition`` of its own collector on a sampler, for the dashboard: called with an ``Accept`` header.

    Example:
        In a project's own ASGI app::

            create_app(current_desk(), routes=[metrics_route(exposing)])
    """
    return partial(exposition, BreakerCollector(sampler))


class Served:
    """A port at which this process can be scraped; `serve` makes one.

    Attributes:
        port: the number.

    Example:
        See `serve`.
    """

    def __init__(self, collector: BreakerCollector, port: int, address: str) -> None:
        registry = CollectorRegistry()
        registry.register(collector)
        self._collector = collector
        self._server, self._thread = start_http_server(port, address, registry)
        self.port: int = self._server.server_port
        inner = self._server.get_app()
        assert inner is not None

        def scraped(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            return inner({**environ, "HTTP_ACCEPT": _readable(environ.get("HTTP_ACCEPT", ""))}, start_response)

        self._server.set_app(scraped)

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2.0)
        self._collector.close()


def serve(
    port: int,
    *,
    address: str = "0.0.0.0",  # noqa: S104 -- as every Prometheus client does: whoever scrapes is elsewhere
    source: Source | None = None,
    names: Iterable[str] | None = None,
    limit: int = LIMIT,
) -> Served:
    """Let this process be scraped, from a thread of its own.

    In a worker, set ``breaker_metrics_port`` instead, or call this once it has started (Celery's signal
    ``worker_ready``): what counts there is the main process, and the registry that it has then.

    Args:
        port: 0 takes any that is free.
        address: to listen at.
        source, names, limit: see `BreakerCollector`.

    Raises:
        OSError: the port is taken.
        ConfigurationError: ``names`` or ``limit`` cannot be.

    Example:
        >>> from celery_breaker.engine.default import registry_at
        >>> served = serve(0, address="127.0.0.1", source=registry_at("memory://"))
        >>> served.port > 0
        True
        >>> served.stop()
    """
    collector = BreakerCollector(source, names=names, limit=limit)
    try:
        return Served(collector, port, address)
    except OSError:
        collector.close()
        raise
