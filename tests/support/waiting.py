"""Waiting on a condition instead of sleeping for a guess."""

from __future__ import annotations

from celery_breaker.testing.waiting import eventually

__all__ = ["eventually"]
