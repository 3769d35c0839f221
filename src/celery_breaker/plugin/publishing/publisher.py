"""Publishing for a breaker that is open: what meets it in a process that is no worker."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from celery.result import EagerResult
from celery.states import SUCCESS
from celery.utils import uuid

from celery_breaker.core.deferrals import may_defer
from celery_breaker.engine.view import Cell
from celery_breaker.errors import BreakerOpen
from celery_breaker.plugin.app import AppBreakers, breakers_of
from celery_breaker.plugin.declared.cells import TaskCells
from celery_breaker.plugin.declared.on_publish import OnPublish, resolved, said_by
from celery_breaker.plugin.declared.policies import names_on
from celery_breaker.plugin.gate.telling import tell_deferred
from celery_breaker.plugin.parking.start import missing_queues
from celery_breaker.plugin.publishing import role
from celery_breaker.plugin.publishing.reroute import ToParking

if TYPE_CHECKING:
    from celery import Celery
    from celery.result import AsyncResult

__all__ = ["Publisher"]

logger = logging.getLogger(__name__)


class _Gate:
    """The breakers of one task, and what is to be done when one refuses. Reads memory only.

    Attributes:
        one: the only breaker, if its name is fixed: all that a publish looks at while it is closed.
        choice: what the task says, or else the app; see `OnPublish`.
    """

    __slots__ = ("_cells", "choice", "one")

    def __init__(self, cells: TaskCells, choice: OnPublish) -> None:
        self._cells = cells
        self.one: Cell | None = cells.fixed[0] if len(cells.fixed) == 1 else None
        self.choice = choice
        cells.registry.reporter.start()

    def refusing(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Cell | None:
        """The breaker that refuses such a call. One that is not known yet, or asks for a permit, does not."""
        self._cells.registry.reporter.start()  # a fork has left it behind
        try:
            return self._cells.refusing(args, kwargs)
        except Exception:
            logger.debug("a call whose arguments make no breaker's name goes on, for the worker to fail", exc_info=True)
            return None


class Publisher:
    """Meets what one app publishes. Thread-safe, and nothing here waits for the store.

    While a task's breaker is closed, a publish reads one attribute more; a task without a breaker costs a look into a
    dictionary.
    """

    def __init__(self, app: Celery, send: Callable[..., AsyncResult[Any]]) -> None:
        self._app = app
        self._send_task = partial(send, app)
        self._names = tuple(inspect.signature(self._send_task).parameters)[3:]  # what may follow by position
        self._breakers: AppBreakers = breakers_of(app)
        self._gates: dict[str, _Gate | None] = {}
        self._breakers.on_forget.append(self._gates.clear)

    def send(
        self, name: str, args: Any, kwargs: Any, more: tuple[Any, ...], options: dict[str, Any]
    ) -> AsyncResult[Any]:
        """Publish, unless a breaker says otherwise.

        Raises:
            ConfigurationError: settings or tasks are wrong; from each publish that would have to know them.
            BreakerOpen: from a call, where ``breaker_on_publish`` is ``"raise"``.
        """
        gates = self._gates
        gate = gates[name] if name in gates else self._look(name, options.get("task_type"))
        if gate is not None and (gate.one is None or not gate.one.passing):
            cell = gate.refusing(args or (), kwargs or {})
            if cell is not None and not self._exempt():
                options.update(zip(self._names, more, strict=False))
                return self._refused(gate, cell, name, args, kwargs, options)
        return self._send_task(name, args, kwargs, *more, **options)

    def _send(self, name: str, args: Any, kwargs: Any, options: dict[str, Any]) -> AsyncResult[Any]:
        return self._send_task(name, args, kwargs, **options)

    def _look(self, name: str, task: Any) -> _Gate | None:
        """The gate of a task that is published for the first time; ``None`` if there is nothing to do."""
        app: Any = self._app
        if role.works():
            return None
        task = task or app._tasks.get(name)  # as Celery does: to look at app.tasks would finalize the app
        if said_by(task) in (None, "send") and self._breakers.settings.on_publish == "send":
            gate = None
        elif app.finalized or app.autofinalize:
            gate = self._gate(name, task)
        else:
            return None
        if app.finalized or task is not None:
            self._gates[name] = gate
        return gate

    def _gate(self, name: str, task: Any) -> _Gate | None:
        policies, said = self._breakers.policies, said_by(task)
        # this process may have met the task after it had collected the others
        own = () if task is None else names_on(task)
        templates = policies.guarded.get(name) or (*own, *policies.attached(name))
        choice = policies.else_on_publish if said is None else resolved(said, of=name)
        if not templates or choice == "send":
            return None
        return _Gate(TaskCells(templates, registry=self._breakers.registry, task=task), choice)

    def _exempt(self) -> bool:
        """What a worker publishes is the next step of something that is under way, and a retry is one too."""
        return role.works() or self._app.current_worker_task is not None or bool(self._app.conf.task_always_eager)

    # --- a breaker refuses ------------------------------------------------------------------------------------------

    def _refused(
        self, gate: _Gate, cell: Cell, name: str, args: Any, kwargs: Any, options: dict[str, Any]
    ) -> AsyncResult[Any]:
        if not _due(options):
            return self._send(name, args, kwargs, options)
        registry = self._breakers.registry
        if gate.choice == "park":
            return self._park(cell, name, args, kwargs, options)
        if _member(options) or (callable(gate.choice) and _continued(options)):
            return self._send(name, args, kwargs, options)
        error = BreakerOpen(cell.name, registry.retry_after(cell))
        if not callable(gate.choice):
            registry.meters.refused(cell.name, error.retry_after)
            raise error
        task_id = options.get("task_id") or uuid()
        value = gate.choice(error, *(args or ()), **(kwargs or {}))
        self._tell(cell, name, task_id, "fallback", deferrals=0)
        return EagerResult(task_id, value, SUCCESS, name=name)

    def _park(self, cell: Cell, name: str, args: Any, kwargs: Any, options: dict[str, Any]) -> AsyncResult[Any]:
        task = self._app.tasks.get(name)
        now = self._breakers.registry.link.now()
        if (
            options.get("expires", getattr(task, "expires", None)) is not None
            or options.get("expiration") is not None
            or not may_defer(cell.policy, deferrals=0, first=None, now=now)
            or not self._own_broker(options)
            or missing_queues(self._app, [cell.name])
        ):
            return self._send(name, args, kwargs, options)
        lot = self._breakers.open_lot()
        router = ToParking(
            options.get("router") or self._app.amqp.router,
            cell.name,
            place=lot.place,
            now=now,
            keeps_priority=lot.keeps_priority,
        )
        result = self._send(name, args, kwargs, {**options, "router": router})
        if router.parked:
            self._tell(cell, name, result.id, "park", deferrals=1)
        return result

    def _own_broker(self, options: Mapping[str, Any]) -> bool:
        """Whether the message goes to the broker whose parking queues the app's workers tend."""
        if options.get("connection") is not None:
            return False
        producer = options.get("producer") or options.get("publisher")
        return producer is None or producer.connection.as_uri() == self._app.connection_for_write().as_uri()

    def _tell(self, cell: Cell, name: str, task_id: str, action: str, *, deferrals: int) -> None:
        logger.debug("task %s[%s] met open breaker %r: %s", name, task_id, cell.name, action)
        registry = self._breakers.registry
        tell_deferred(
            self._app, registry, cell.name, task_id=task_id, task_name=name, action=action, deferrals=deferrals
        )


def _due(options: Mapping[str, Any]) -> bool:
    """A call for later may find the breaker closed by then."""
    return not (options.get("eta") or options.get("countdown") or options.get("retries"))


def _member(options: Mapping[str, Any]) -> bool:
    """One of a group or a chord's header: others of it may be under way already, and wait for this one."""
    return bool(options.get("group_id") or options.get("chord") or options.get("add_to_parent") is False)


def _continued(options: Mapping[str, Any]) -> bool:
    """Somebody waits for the result other than who publishes, and only a worker would tell them."""
    return bool(options.get("chain") or options.get("link"))
