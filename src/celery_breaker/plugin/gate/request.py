"""The request's gate and its ears: a request goes to the pool past its guard, and how it ends is heard here."""

from __future__ import annotations

import functools
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from celery.exceptions import TimeLimitExceeded
from celery.utils.imports import symbol_by_name
from celery.worker import state as worker_state
from celery.worker.request import Request

from celery_breaker.engine.registry import Outcome
from celery_breaker.engine.view import Ticket
from celery_breaker.plugin.gate.failures import Deferrable, FailureDeferred, first_failed, outcomes_of
from celery_breaker.plugin.gate.inside import TICKETS
from celery_breaker.plugin.gate.outcomes import Ended, lost_process

if TYPE_CHECKING:
    from celery_breaker.plugin.gate.guard import Guard

__all__ = ["GuardedRequest", "guarded_request"]

logger = logging.getLogger(__name__)


class GuardedRequest(Request):
    """Base of the requests of guarded tasks.

    The worker specialises a task's request class and overrides ``execute_using_pool`` and ``on_success`` there, so
    they are wrapped as the specialised class is made.
    """

    guard: ClassVar[Guard]
    tickets: tuple[Ticket, ...] | None = None
    deferrable: Deferrable | None = None
    deferred = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "execute_using_pool" in cls.__dict__ and "guard" not in cls.__dict__:
            cls.execute_using_pool = _gated(cls.execute_using_pool)  # type: ignore[method-assign]
            cls.on_success = _heard(cls.on_success)  # type: ignore[method-assign]

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """See `celery.worker.request.Request`; every failure comes by here but hard time limits."""
        if self.tickets and self.settle(_exception_of(exc_info), runtime=None, recorded=False):
            return None
        return super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        """See `celery.worker.request.Request`; a soft limit shows as an exception, if the task lets it out."""
        if self.tickets and not soft:
            self.settle(TimeLimitExceeded(timeout), runtime=None, recorded=False)
        if self.deferred and not soft:
            return None
        return super().on_timeout(soft, timeout)

    @property
    def _called_off(self) -> bool:
        """Whether the worker itself ended the task, by revocation or cancellation."""
        request: Any = self
        return bool(request._already_cancelled or request._already_revoked)

    def settle(self, exception: BaseException | None, *, runtime: float | None, recorded: bool = True) -> bool:
        """Hand over the outcome, once; whether the task is set aside, so that its end is not one. Never raises.

        ``recorded``: the pool process has recorded how it ended, if it saw it end.
        """
        tickets, self.tickets = self.tickets or (), ()
        try:
            outcomes = self._outcomes(tickets, exception, runtime)
            for outcome in outcomes:
                self.guard.registry.report(replace(outcome, task=self.name, task_id=self.id))
            self._set_aside(exception, outcomes, recorded=recorded)
        except Exception:
            logger.exception("the outcome of task %s[%s] is lost", self.name, self.id)
        return self.deferred

    def _outcomes(
        self, tickets: tuple[Ticket, ...], exception: BaseException | None, runtime: float | None
    ) -> list[Outcome]:
        ours = bool(getattr(worker_state, "should_terminate", None)) or self._called_off
        ended = Ended(exception, runtime=runtime, ours=ours)
        return outcomes_of(tickets, ended, charge=self.request_dict.get(TICKETS))

    def _set_aside(self, exception: BaseException | None, outcomes: list[Outcome], *, recorded: bool) -> None:
        """Set the task aside if the pool decided so, or could not decide because it hung or died."""
        if self.deferrable is None or self._already_revoked:  # type: ignore[attr-defined]
            return
        if isinstance(exception, FailureDeferred):
            chosen: int | None = exception.chosen
        elif recorded or not lost_process(exception) or self._celery_goes_on(exception):
            return
        else:
            chosen = first_failed(outcomes, self.deferrable.names)
        if chosen is not None:
            self.guard.aside.failure(self, outcomes[chosen])
            self.deferred = True

    def _celery_goes_on(self, exception: BaseException | None) -> bool:
        """Whether a lost process is no failure to Celery: the task had succeeded before, or is sent again."""
        task: Any = self.task
        if isinstance(exception, TimeLimitExceeded):
            return False
        if getattr(task, "retry_on_worker_lost", False):
            retries: Any = self.request_dict.get("retries") or 0
            if task.max_retries is None or retries < task.max_retries:
                return True
        succeeded = getattr(self, "_success_was_stored", None)
        return bool(succeeded is not None and succeeded())

    def let_go(self) -> None:
        """The request will not run after all: its permits are free again."""
        tickets, self.tickets = self.tickets, ()
        for ticket in tickets or ():
            self.guard.registry.unused(ticket)


def _gated(execute: Any) -> Any:
    @functools.wraps(execute)
    def execute_using_pool(self: GuardedRequest, pool: Any, **kwargs: Any) -> Any:
        if self.tickets is None:
            guard = self.guard
            cell = guard.cell
            if cell is not None:
                ticket = cell.ticket
                if cell.passing and cell.known and cell.direct:
                    self.tickets = (ticket,)
                else:
                    guard.gate(self)
            else:
                guard.gate(self)
        try:
            return execute(self, pool, **kwargs)
        except BaseException:
            self.let_go()
            raise

    return execute_using_pool


def _heard(on_success: Any) -> Any:
    @functools.wraps(on_success)
    def heard(self: GuardedRequest, failed__retval__runtime: Any, **kwargs: Any) -> Any:
        tickets = self.tickets
        if tickets and not failed__retval__runtime[0]:
            guard = self.guard
            if len(tickets) == 1 and tickets[0].cell.plain and not guard.judged_inside:
                self.tickets = ()
                guard.registry.succeeded(tickets[0])
            else:
                self.settle(None, runtime=failed__retval__runtime[2])
        elif tickets and self.settle(_exception_of(failed__retval__runtime[1]), runtime=failed__retval__runtime[2]):
            return None
        return on_success(self, failed__retval__runtime, **kwargs)

    return heard


def _exception_of(exc_info: Any) -> BaseException | None:
    exception = getattr(exc_info, "exception", None)
    return getattr(exception, "exc", exception) if type(exception).__name__ == "ExceptionWithTraceback" else exception


def guarded_request(base: type | str, guard: Guard) -> type[GuardedRequest]:
    """A request class for this guard's task, on top of the one that the task has already."""
    original: Any = symbol_by_name(base)  # type: ignore[arg-type]
    bases: tuple[type, ...] = (GuardedRequest,) if original is Request else (GuardedRequest, original)
    return type("GuardedRequest", bases, {"guard": guard, "__module__": __name__})
