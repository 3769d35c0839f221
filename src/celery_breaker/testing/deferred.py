"""A deferred task as a test looks at it, and how a failed assertion tells of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Deferred", "Named", "Wanted", "listed"]


class Named(Protocol):
    """A task, of which its name is enough.

    Example:
        A task of Celery's, or anything with its name::

            breakers.assert_deferred(send_mail, args=(7,))
    """

    @property
    def name(self) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """A task that its breaker set aside.

    Attributes:
        breaker: which breaker.
        task: the task's name.
        args, kwargs: what it was called with; ``None`` where the broker shows no more than their representation, and
            that cannot be read.
        action: ``"park"``, or ``"retry"`` for one that would be sent again with an ETA.
        deferrals: how often it was set aside so far.
        queue: where it goes back to.

    Example:
        >>> str(Deferred(breaker="bank", task="shop.charge", id="7f3a", args=(7,), kwargs={}))
        "shop.charge(7) by breaker 'bank'"
    """

    breaker: str
    task: str
    id: str
    args: tuple[object, ...] | None
    kwargs: Mapping[str, object] | None
    action: str = "park"
    deferrals: int = 1
    queue: str = ""

    def __str__(self) -> str:
        return f"{_call(self.task, self.args, self.kwargs)} by breaker {self.breaker!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a test looks for among the deferred tasks; ``None`` is no condition."""

    task: str
    args: Sequence[object] | None = None
    kwargs: Mapping[str, object] | None = None
    breaker: str | None = None

    def __str__(self) -> str:
        whose = f" by breaker {self.breaker!r}" if self.breaker else ""
        if self.args is None and self.kwargs is None:
            return f"{self.task}{whose}"
        return f"{_call(self.task, self.args, self.kwargs)}{whose}"

    def fits(self, deferred: Deferred) -> bool:
        """Whether this is one of those looked for. Lists and tuples are alike, for a message makes no difference."""
        return (
            deferred.task == self.task
            and (self.breaker is None or deferred.breaker == self.breaker)
            and (self.args is None or (deferred.args is not None and _plain(deferred.args) == _plain(self.args)))
            and (
                self.kwargs is None or (deferred.kwargs is not None and _plain(deferred.kwargs) == _plain(self.kwargs))
            )
        )


def listed(found: Iterable[Deferred]) -> str:
    """Deferred tasks for a message, one a line."""
    lines = [f"  {one}" for one in found]
    return "\n".join(lines) if lines else "  nothing"


def _call(task: str, args: Sequence[object] | None, kwargs: Mapping[str, object] | None) -> str:
    words = ["*?"] if args is None else [repr(value) for value in args]
    words += ["**?"] if kwargs is None else [f"{key}={value!r}" for key, value in kwargs.items()]
    return f"{task}({', '.join(words)})"


def _plain(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return value
