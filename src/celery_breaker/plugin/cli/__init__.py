"""``celery breaker``, which Celery's own command finds under the name `celery_breaker.plugin.cli:breaker`."""

from celery_breaker.plugin.cli.commands import breaker

__all__ = ["breaker"]
