"""Who puts an app's breakers into the hands of a test: the plugin; `testing`, which knows no Celery, asks here.

Apart from `testing`, so that nothing of it is imported where nobody tests.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["found", "provide"]

_finder: Callable[[object], object | None] | None = None


def provide(finder: Callable[[object], object | None]) -> None:
    """Let ``finder`` give the `House` of an app, or of the current one for ``None``, if there is one."""
    global _finder  # noqa: PLW0603 -- one per process, set once as the plugin is imported
    _finder = finder


def found(app: object | None) -> object | None:
    """What the finder gives; ``None`` if there is none."""
    return None if _finder is None else _finder(app)
