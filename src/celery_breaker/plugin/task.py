"""`BreakerTask`: the base class that users name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from celery_breaker.plugin.aliases import P, R_co, SignedTask
from celery_breaker.plugin.install import install
from celery_breaker.plugin.publishing.on_commit import OnCommit

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["BreakerTask"]


class BreakerTask(SignedTask[P, R_co], OnCommit):
    """A task behind one or more breakers. Serves as ``base=``, as a mixin, and as ``Celery(task_cls=…)``.

    Workers gate the task in their main process; called directly or eagerly, it runs like any other. A task that
    names no breaker is not touched and costs nothing. A name or an option that cannot work stops the worker at start,
    with a `ConfigurationError`.

    To type checkers such a task takes any arguments, unless its base says which: ``base=BreakerTask[[str], None]``,
    which is `BreakerTask` at run time.

    Where Django is in use it has what Celery's own tasks have there: `delay_on_commit` and `apply_async_on_commit`.

    Attributes:
        breaker: a name, a template like ``"webhook:{host}"`` that takes its fields from the call's arguments, or a list
            of either: the task is admitted only if all admit.
        breaker_options: options of `Policy`, for all breakers that it names.
        breaker_on_publish: what becomes of it when it is published, outside of a worker, while a breaker that it names
            is open: ``"send"``, ``"raise"``, ``"park"``, or a callable of (exception, \\*args, \\*\\*kwargs)
            (in a class, a ``staticmethod``), or its dotted path. Unset, the app's setting of that name says.

    Example:
        >>> from celery import Celery
        >>> app = Celery("proj", broker="memory://")
        >>> @app.task(base=BreakerTask, breaker="smtp", breaker_options={"max_failures": 3})
        ... def send(to, body): ...
        >>> send.breaker
        'smtp'
    """

    abstract = True

    breaker: ClassVar[str | Sequence[str] | None] = None
    breaker_options: ClassVar[Mapping[str, Any] | None] = None
    breaker_on_publish: ClassVar[str | Callable[..., object] | None] = None

    @classmethod
    def on_bound(cls, app: Celery) -> None:
        """Install the plugin on the app that the first such task is bound to."""
        super().on_bound(app)
        if cls.breaker:
            install(app)
