"""Tasks that are sent when a transaction of Django's is committed, as Celery's own tasks are where Django is in use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery_breaker.errors import ConfigurationError
from celery_breaker.plugin.aliases import P

if TYPE_CHECKING:
    from typing import Protocol

    class _Delays(Protocol[P]):
        def delay(self, *args: P.args, **kwargs: P.kwargs) -> object: ...

    class _Applies(Protocol[P]):
        def apply_async(self, *args: P.args, **kwargs: P.kwargs) -> object: ...


__all__ = ["OnCommit"]


class OnCommit:
    """What `celery.contrib.django.task.DjangoTask` has on top of a task, without an import of Django before it is used.

    It is no task class: as a base beside one it comes last, behind every task class of the user's own.
    """

    def delay_on_commit(self: _Delays[P], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call ``delay`` when Django's transaction is committed, at once if there is none, never if it is rolled back.

        Raises:
            ConfigurationError: Django is not installed.

        Example:
            >>> from celery_breaker import BreakerTask
            >>> def place(order, send: BreakerTask) -> None:
            ...     order.save()
            ...     send.delay_on_commit(order.pk)
        """
        _django_task().delay_on_commit(self, *args, **kwargs)

    def apply_async_on_commit(self: _Applies[P], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call ``apply_async`` when `delay_on_commit` would call ``delay``.

        Raises:
            ConfigurationError: Django is not installed.
        """
        _django_task().apply_async_on_commit(self, *args, **kwargs)


def _django_task() -> Any:
    try:
        from celery.contrib.django.task import DjangoTask
    except ImportError as exc:
        raise ConfigurationError(
            f"on_commit waits for a transaction of Django's, which is not installed: call delay or apply_async ({exc})"
        ) from exc
    return DjangoTask
