"""Names for Celery's generic types, whose parameters exist for the type checker alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeAlias

from celery import Task

__all__ = ["AnyTask", "P", "R_co", "SignedTask"]

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, TypeVar  # type checkers know it, installed or not

    P = ParamSpec("P", default=...)
    R_co = TypeVar("R_co", covariant=True, default=Any)

    AnyTask: TypeAlias = Task[Any, Any]

    class SignedTask(Task[P, R_co], Generic[P, R_co]):  # the second for who has no types for Celery
        """A task class that may be told the signature of its function, and need not be."""
else:
    P = R_co = None

    AnyTask: TypeAlias = Task

    class SignedTask(Task):
        """A task class that may be told the signature of its function, which changes nothing at run time."""

        abstract = True

        def __class_getitem__(cls, signature):
            return cls  # Celery makes a class of a task with `type`, which takes no `types.GenericAlias` for a base
