"""Figures of an app's breakers for the outside world, where its settings ask for them and the extra is installed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from celery_breaker.errors import ConfigurationError

if TYPE_CHECKING:
    from celery_breaker.engine.registry import Registry
    from celery_breaker.metrics.otel import Instrumented
    from celery_breaker.metrics.prometheus import Served
    from celery_breaker.settings import Settings
    from celery_breaker.status.sampler import Sampler

__all__ = ["check", "exposer", "open_port", "opentelemetry"]

logger = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """Check that what the settings ask for is installed.

    Raises:
        ConfigurationError: it is not.
    """
    if settings.metrics_port is None:
        return
    try:
        import celery_breaker.metrics.prometheus  # noqa: F401
    except ImportError as exc:
        raise _missing("breaker_metrics_port", "prometheus", exc) from exc


def open_port(registry: Registry, settings: Settings) -> Served | None:
    """Let this process be scraped, if the settings say so; a port that is taken is logged, and that is all."""
    if settings.metrics_port is None:
        return None
    from celery_breaker.metrics.prometheus import serve

    port, address = settings.metrics_port, settings.metrics_address
    try:
        served = serve(port, address=address, source=registry)
    except OSError as exc:
        text = "metrics are not served, for port %d at %s cannot be had; give each worker of a machine its own: %s"
        logger.warning(text, port, address, exc)
        return None
    logger.info("metrics are served on port %d at %s", served.port, address)
    return served


def exposer() -> Callable[[Sampler], Callable[[str], tuple[bytes, str]]] | None:
    """What the dashboard's ``/metrics`` is made by; ``None`` if it is not installed."""
    try:
        from celery_breaker.metrics.prometheus import exposing
    except ImportError:
        return None
    return exposing


def opentelemetry(registry: Registry, settings: Settings) -> Instrumented | None:
    """Give figures and span events to OpenTelemetry, if the settings say so.

    Raises:
        ConfigurationError: it is not installed.
    """
    if not settings.opentelemetry:
        return None
    try:
        from celery_breaker.metrics.otel import instrument
    except ImportError as exc:
        raise _missing("breaker_opentelemetry", "opentelemetry", exc) from exc
    return instrument(registry)


def _missing(setting: str, extra: str, exc: ImportError) -> ConfigurationError:
    return ConfigurationError(f'{setting} is set, but not what it needs: pip install "celery-breaker[{extra}]" ({exc})')
