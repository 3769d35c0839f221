"""One eager call on its way past the gate, and the result that it has while it is set aside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celery.exceptions import TimeoutError as ResultTimeoutError
from celery.result import EagerResult
from celery.states import FAILURE, REVOKED
from kombu import Message
from vine import promise

from celery_breaker.engine.view import Ticket
from celery_breaker.errors import BreakerError
from celery_breaker.plugin.aliases import AnyTask
from celery_breaker.plugin.gate.deferral import DEFERRED
from celery_breaker.plugin.gate.failures import Deferrable, FailureDeferred, outcomes_of
from celery_breaker.plugin.gate.inside import TICKETS
from celery_breaker.plugin.gate.outcomes import Ended

if TYPE_CHECKING:
    from celery_breaker.plugin.gate.guard import Guard

__all__ = ["DeferredResult", "EagerMessage", "Seat", "StillDeferred"]


class StillDeferred(BreakerError, ResultTimeoutError):
    """The result of an eager task was waited for, and its breaker has set the task aside."""


class DeferredResult(EagerResult):  # type: ignore[type-arg]
    """The result of an eager task that was set aside; it shows how the task ended once it was released."""

    def __init__(self, id: str, ret_value: object, state: str = DEFERRED, **options: Any) -> None:  # noqa: A002
        super().__init__(id, ret_value, state, **options)
        self.on_ready = promise()

    def ready(self) -> bool:
        """Whether the task was released and has ended."""
        return self.state != DEFERRED

    def get(self, *args: Any, **kwargs: Any) -> Any:
        """See `EagerResult.get`. Raises `StillDeferred` where a worker's result would be waited for in vain."""
        if self.state != DEFERRED:
            return super().get(*args, **kwargs)
        info: Any = self.info
        breaker = info["breaker"]
        raise StillDeferred(
            f"task {self.name}[{self.id}] is deferred by breaker {breaker!r}, so there is no result; "
            f"release({breaker!r}) runs it"
        )

    wait = get

    def become(self, other: EagerResult) -> None:  # type: ignore[type-arg]
        """Show how the task ended."""
        self._traceback = other.traceback
        self._show(other.result, other.state)

    def failed_with(self, exc: Exception) -> None:
        """Show that the task raised, and that it was let out."""
        self._show(exc, FAILURE)

    def told(self, info: Mapping[str, object]) -> None:
        """Show what is known of the deferral."""
        self._show(dict(info), DEFERRED)

    def _show(self, result: Any, state: Any) -> None:
        self._result, self._state = result, state
        if self.ready():
            self.on_ready(self)


class EagerMessage(Message):
    """What a broker would have brought for an eager call, as far as anybody looks."""

    def __init__(self, seat: Seat, headers: dict[str, Any]) -> None:
        super().__init__(headers=headers, delivery_info={}, properties={})
        self.seat = seat

    @property
    def payload(self) -> Any:
        """See `Message.payload`."""
        return self.seat.args, self.seat.kwargs, {}


class Seat:
    """An eager call, with all that the guard looks at in a request; implements `Gated`.

    Attributes:
        result: what the caller was given when it was set aside.
        error: what it is to fail with instead of running.
        cleared: it is to run. decided: it is known whether it is.
        taken: its run has begun.
        guard: who decides.
    """

    def __init__(self, task: AnyTask, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]) -> None:
        self.task = task
        self.args = args
        self.kwargs = kwargs
        self.options = options
        self.id: str = options["task_id"]
        self.acknowledged = False
        self.tickets: tuple[Ticket, ...] | None = None
        self.time_limits: tuple[float | None, float | None] = (
            options.get("time_limit"),
            options.get("soft_time_limit"),
        )
        self.deferrable: Deferrable | None = None
        retries = options.get("retries") or 0
        self.request_dict: dict[str, Any] = {"retries": retries}
        headers = {**(options.get("headers") or {}), "id": self.id, "task": task.name, "retries": retries}
        self.message = EagerMessage(self, headers)
        self.result: DeferredResult | None = None
        self.error: Exception | None = None
        self.cleared = self.taken = False
        self.decided = threading.Event()
        self.guard: Guard | None = None

    def again(self) -> Seat:
        """The same call once more, after it was set aside."""
        seat = Seat(self.task, self.args, self.kwargs, self.options)
        seat.message.headers = self.message.headers
        seat.result = self.result
        return seat

    def revoked(self) -> bool:
        """Whether it was called off while it was set aside."""
        return self.result is not None and str(self.result.state) == REVOKED

    def acknowledge(self) -> None:
        """There is no broker to tell."""

    def clear(self) -> None:
        """It is to run."""
        self.cleared = True
        self.decided.set()

    def fail(self, error: Exception) -> None:
        """It is to run, and to fail with this at once, so that Celery does all that a failure entails."""
        self.error = error
        self.clear()

    def set_aside(self, headers: Mapping[str, Any], info: Mapping[str, object]) -> None:
        """It is not to run for now."""
        self.message.headers = dict(headers)
        self.cleared = False
        if self.result is None:
            self.result = DeferredResult(self.id, dict(info), name=self.task.name)
        else:
            self.result.told(info)
        self.decided.set()

    def run(self, run: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the task's own code, and tell its breakers how that ended."""
        self.taken = True
        if self.error is not None:
            raise self.error
        assert self.guard is not None
        self.task.request.update(self.request_dict)
        started = self.guard.registry.clock()
        try:
            result = run(*args, **kwargs)
        except BaseException as exc:
            self._ended(exc, started)
            raise
        self._ended(None, started)
        return result

    def _ended(self, exception: BaseException | None, started: float) -> None:
        """As `GuardedRequest.settle`, though nothing is lost here without an exception that says so."""
        guard = self.guard
        assert guard is not None
        registry = guard.registry
        tickets, self.tickets = self.tickets or (), ()
        ended = Ended(exception, runtime=registry.clock() - started)
        outcomes = outcomes_of(tickets, ended, charge=self.request_dict.get(TICKETS))
        for outcome in outcomes:
            registry.report(replace(outcome, task=self.task.name, task_id=self.id))
        registry.reporter.wake()
        if isinstance(exception, FailureDeferred):
            guard.aside.failure(self, outcomes[exception.chosen])
