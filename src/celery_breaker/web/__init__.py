"""The web room: a dashboard and a REST API over the desk, as an ASGI app. Needs the extra "web"."""

from __future__ import annotations

from celery_breaker.web.app import create_app
from celery_breaker.web.console import Console
from celery_breaker.web.options import WebOptions

__all__ = ["Console", "WebOptions", "create_app"]
