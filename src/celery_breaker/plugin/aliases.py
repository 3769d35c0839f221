"""Names for Celery's generic types, which exist for the type checker alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from celery import Task

__all__ = ["AnyTask"]

if TYPE_CHECKING:
    AnyTask: TypeAlias = Task[Any, Any]
else:
    AnyTask: TypeAlias = Task
