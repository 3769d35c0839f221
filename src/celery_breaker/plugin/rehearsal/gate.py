"""The gate of eager tasks, for tests: as long as it stands, they pass their breakers as they would in a worker.

In production they do not, for whoever calls a task eagerly wants it done.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

from celery import Celery
from celery.app.task import Task
from celery.exceptions import TaskRevokedError
from celery.result import EagerResult
from celery.utils import uuid

from celery_breaker.errors import BreakerError
from celery_breaker.plugin.aliases import AnyTask
from celery_breaker.plugin.app import AppBreakers
from celery_breaker.plugin.gate.guard import Guard
from celery_breaker.plugin.gate.inside import wrap_run
from celery_breaker.plugin.gate.turnstile import SetAside
from celery_breaker.plugin.pausing.pausing import Pausing
from celery_breaker.plugin.rehearsal.lot import EagerDeferrer, EagerLoop, EagerLot
from celery_breaker.plugin.rehearsal.seat import DeferredResult, Seat
from celery_breaker.plugin.unproxied import unproxied

__all__ = ["EagerGate"]

_PATIENCE = 30.0
"""Seconds that a permit may take to be won; where the breakers are in memory, it takes none."""

_ORDER = ("link", "link_error", "task_id", "retries", "throw", "logfile", "loglevel", "headers")
"""Arguments of `Task.apply` after the first two."""

_gates: WeakKeyDictionary[Celery, EagerGate] = WeakKeyDictionary()
_lock = threading.Lock()
_apply: Callable[..., Any] = Task.apply
_seat: ContextVar[Seat | None] = ContextVar("celery_breaker_seat", default=None)


class EagerGate:
    """The gate of one app, on the same guards as a worker's. Thread-safe; may be entered again while it stands.

    Attributes:
        lot: what was set aside.
    """

    def __init__(self, breakers: AppBreakers) -> None:
        self._breakers = breakers
        self._guards: dict[str, Guard] = {}
        self._runs: dict[str, Any] = {}
        self._entered = self._tasks = 0
        self._loop = EagerLoop(breakers)
        self._deciding = threading.RLock()
        self.lot = EagerLot(self._again)

    @contextmanager
    def stand(self) -> Iterator[None]:
        """Gate eager calls for the time of a with-block."""
        with _lock:
            self._entered += 1
            _gates[self._breakers.app] = self
            Task.apply = _gated_apply  # type: ignore[method-assign]
        try:
            yield
        finally:
            with _lock:
                self._entered -= 1
                if not self._entered:
                    del _gates[self._breakers.app]
                    self._let_go()
                if not _gates:
                    Task.apply = _apply  # type: ignore[method-assign]

    def _let_go(self) -> None:
        """Tasks are as they were before."""
        for name, run in self._runs.items():
            task = self._breakers.app.tasks.get(name)
            if task is None:
                continue
            if run is None:
                task.__dict__.pop("run", None)
            else:
                task.run = run  # type: ignore[method-assign]
        self._runs.clear()
        self._guards.clear()

    def call(self, task: AnyTask, args: Sequence[object], kwargs: Mapping[str, object], options: dict[str, Any]) -> Any:
        """Run a task, or set it aside, as its breakers say; its result."""
        if not self._guarded(task):
            return _apply(task, args, kwargs, **options)
        options["task_id"] = options.get("task_id") or uuid()
        return self._play(Seat(task, tuple(args), dict(kwargs), options))

    def _guarded(self, task: AnyTask) -> bool:
        """Whether the task has breakers; it may be newer than the last look."""
        if self._tasks != (count := len(self._breakers.app.tasks)):
            self._tasks = count
            self._breakers.reread()
            self._guards.clear()
        return task.name in self._breakers.policies.guarded

    def _guard(self, task: AnyTask) -> Guard:
        registry = self._breakers.registry
        guard = self._guards.get(task.name)
        if guard is None or guard.registry is not registry:
            deferrer = EagerDeferrer(self._breakers.app, registry, self.lot, loop=self._loop)
            guard = self._guards[task.name] = Guard(
                task,
                registry=registry,
                policies=self._breakers.policies,
                loop=self._loop,
                deferrer=deferrer,
                pausing=Pausing(registry, self._loop, plan={}, guarded={}, leases={}),
                shared=True,
            )
            self._hear(task, guard)
        return guard

    def _hear(self, task: AnyTask, guard: Guard) -> None:
        """Have what runs within `apply` go by the seat that its call has taken."""
        if task.name in self._runs:
            return
        self._runs[task.name] = task.__dict__.get("run")
        if guard.has_fallback or guard.judged_inside or guard.defers:
            wrap_run(task)
        run: Callable[..., Any] = task.run

        @functools.wraps(run)
        def heard(*args: Any, **kwargs: Any) -> Any:
            seat = _seat.get()
            if seat is None or seat.task is not task or seat.taken:
                return run(*args, **kwargs)  # called directly
            return seat.run(run, args, kwargs)

        task.run = heard  # type: ignore[method-assign]

    def _play(self, seat: Seat) -> Any:
        if not self._admitted(seat):
            return seat.result
        token = _seat.set(seat)
        try:
            ended = _apply(seat.task, seat.args, seat.kwargs, **seat.options)
            return ended if seat.cleared else seat.result  # its failure may have set it aside
        finally:
            _seat.reset(token)

    def _admitted(self, seat: Seat) -> bool:
        """Whether the call is to run, be it to fail; else it was set aside."""
        with self._deciding:
            guard = self._guard(seat.task)
            seat.guard = guard
            try:
                guard.gate(seat)
            except SetAside:
                pass
            else:
                seat.clear()
        if not seat.decided.wait(_PATIENCE):
            raise BreakerError(f"no permit was won or refused for task {seat.task.name} within {_PATIENCE:g} s")
        return seat.cleared

    def _again(self, seat: Seat) -> BaseException | None:
        """Run a call that was set aside; what it raised, if errors are to be propagated."""
        again, result = seat.again(), seat.result
        assert isinstance(result, DeferredResult)
        try:
            ended = self._play(again)
        except TaskRevokedError:
            return None
        except Exception as exc:
            result.failed_with(exc)
            return exc
        if ended is not result:
            result.become(ended)
        return None


def _gated_apply(self: AnyTask, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any) -> EagerResult[Any]:
    gate = _gates.get(unproxied(self.app))
    if gate is None:
        return _apply(self, args, kwargs, *rest, **options)  # type: ignore[no-any-return]
    return gate.call(self, args or (), kwargs or {}, {**dict(zip(_ORDER, rest, strict=False)), **options})  # type: ignore[no-any-return]


functools.update_wrapper(_gated_apply, _apply)
