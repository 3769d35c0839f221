"""The breakers of one call: those that its task names, with the call's arguments in their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from celery_breaker.core.machine import Admission
from celery_breaker.core.names import fields_of, fill
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Cell
from celery_breaker.plugin.declared.arguments import Binder

if TYPE_CHECKING:
    from celery_breaker.plugin.aliases import AnyTask

__all__ = ["TaskCells"]


class TaskCells:
    """Finds the views of the breakers that a task's templates lead to. Reads memory only.

    Args:
        task: whose arguments fill the templates; ``None`` for one that only others know, called by keyword.

    Attributes:
        dynamic: a name is made from arguments.
        fixed: the views, if no name is.
    """

    def __init__(self, templates: Sequence[str], *, registry: Registry, task: AnyTask | None) -> None:
        self.templates = tuple(templates)
        self.registry = registry
        self.dynamic = any(fields_of(template) for template in templates)
        self.fixed = () if self.dynamic else tuple(registry.cell(name, pinned=True) for name in templates)
        self._binder = None if task is None else Binder(task)

    def of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Cell]:
        """The views for a call with these arguments.

        Raises:
            ConfigurationError: while they are iterated, where the arguments make no name.
        """
        if not self.dynamic:
            yield from self.fixed
            return
        arguments = kwargs if self._binder is None else self._binder(args, kwargs)
        for template in self.templates:
            if fields_of(template):
                yield self.registry.cell(fill(template, arguments))
            else:
                yield self.registry.cell(template, pinned=True)

    def refusing(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Cell | None:
        """The first breaker that refuses such a call out of hand. Raises as `of` does."""
        for cell in self.of(args, kwargs):
            if not cell.passing and cell.known and self.registry.admission(cell) is Admission.REFUSE:
                return cell
        return None
