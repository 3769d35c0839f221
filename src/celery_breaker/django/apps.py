"""The Django app: put ``"celery_breaker.django"`` into ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["CeleryBreakerConfig"]


class CeleryBreakerConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """Registers the system checks."""

    name = "celery_breaker.django"
    label = "celery_breaker"
    verbose_name = "Circuit breakers"

    def ready(self) -> None:
        """Called by Django once all models are there."""
        from celery_breaker.django import checks  # its functions register themselves

        del checks
