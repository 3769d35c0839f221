"""Failing a task that will not run, as Celery fails one whose process was lost: result, errbacks, chord, signal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo
from celery import signals as celery_signals
from celery.app.task import Context
from kombu.utils.encoding import safe_repr, safe_str

if TYPE_CHECKING:
    from kombu import Message

    from celery_breaker.plugin.aliases import AnyTask

__all__ = ["Failing", "context_of"]


class Failing:
    """One task, and what it fails with.

    Attributes:
        context: what results backends expect to be told of it.
    """

    def __init__(self, task: AnyTask, message: Message, exc: Exception) -> None:
        self._task = task
        self._exc = exc
        self._einfo = _einfo(exc)
        self.context = context_of(message)

    def record(self, *, stored: bool) -> None:
        """Store the result, if it is to be, and set off errbacks and chord. Raises whatever a backend raises."""
        trace = self._einfo.traceback
        self._task.backend.mark_as_failure(self.context.id, self._exc, trace, request=self.context, store_result=stored)

    def tell(self, send_event: Callable[..., object]) -> None:
        """Tell monitors, by an event, and the receivers of Celery's signal."""
        context, exc = self.context, self._exc
        send_event("task-failed", uuid=context.id, exception=safe_repr(exc), traceback=safe_str(self._einfo.traceback))
        celery_signals.task_failure.send(
            sender=self._task,
            task_id=context.id,
            exception=exc,
            args=context.args,
            kwargs=context.kwargs,
            traceback=exc.__traceback__,
            einfo=self._einfo,
        )


def _einfo(exc: Exception) -> ExceptionInfo:
    try:
        raise exc
    except Exception:
        return ExceptionInfo()


def context_of(message: Message) -> Any:
    """A task message as the context that results backends expect; without arguments if it cannot be decoded."""
    headers = dict(message.headers or {})
    try:
        payload = message.payload
        if "task" in headers:
            args, kwargs, embed = payload
        else:
            args, kwargs, embed = payload.get("args", ()), payload.get("kwargs", {}), {}
            headers = {**payload, **headers}
    except Exception:
        args, kwargs, embed = (), {}, {}
    properties = message.properties or {}
    routing = {"reply_to": properties.get("reply_to"), "correlation_id": properties.get("correlation_id")}
    return Context({**headers, **routing, **(embed or {}), "args": args, "kwargs": kwargs})
