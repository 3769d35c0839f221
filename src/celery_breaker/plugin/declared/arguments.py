"""A task's arguments by name, so that a breaker's name can be made from them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence

from celery_breaker.plugin.aliases import AnyTask

__all__ = ["Binder", "parameters_of"]


def _signature(task: AnyTask) -> inspect.Signature | None:
    try:
        signature = inspect.signature(task.run)
    except (TypeError, ValueError):
        return None
    return signature


def parameters_of(task: AnyTask) -> frozenset[str] | None:
    """Names of the arguments that a task takes; ``None`` if it takes any."""
    signature = _signature(task)
    if signature is None or any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        return None
    return frozenset(signature.parameters)


class Binder:
    """Binds the arguments of one task's messages.

    Example:
        >>> class task: run = staticmethod(lambda host, port=80: None)
        >>> Binder(task)(["a.example"], {})
        {'host': 'a.example', 'port': 80}
    """

    def __init__(self, task: AnyTask) -> None:
        self._signature = _signature(task)

    def __call__(self, args: Sequence[object], kwargs: Mapping[str, object]) -> Mapping[str, object]:
        """The arguments by name, defaults filled in; what does not fit is left out, for the task itself to refuse."""
        if self._signature is None:
            return kwargs
        try:
            bound = self._signature.bind_partial(*args, **kwargs)
        except TypeError:
            return kwargs
        bound.apply_defaults()
        named = dict(bound.arguments)
        for parameter in self._signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                named.update(named.pop(parameter.name, {}))
        return named
