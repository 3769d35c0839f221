"""The app behind a proxy such as ``celery.current_app``: what is kept by app must find it again."""

from __future__ import annotations

from typing import Any

__all__ = ["unproxied"]


def unproxied(app: Any) -> Any:
    """The app itself, given it or a proxy for it."""
    return getattr(app, "_get_current_object", lambda: app)()
