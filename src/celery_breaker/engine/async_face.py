"""The face of a `Breaker` for coroutines: what takes time is awaited, and nothing ever blocks the event loop."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from celery_breaker.core.machine import Admission
from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.blocks import Block, blocks
from celery_breaker.engine.default import registry_from_here
from celery_breaker.engine.entrance import Entrance
from celery_breaker.engine.registry import Outcome, Registry
from celery_breaker.engine.view import Cell, Ticket
from celery_breaker.errors import ConfigurationError

__all__ = ["AsyncFace"]

P = ParamSpec("P")
R = TypeVar("R")
Self = TypeVar("Self", bound="AsyncFace")


@functools.cache
def _check_extra() -> None:
    try:
        import celery_breaker.engine.event_loop  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "a breaker around asynchronous code needs anyio; pip install 'celery-breaker[async]'"
        ) from None


class AsyncFace(Entrance):
    """Calls are admitted from memory; only the first use and a half-open permit are awaited, in a thread.

    A cancelled call is neither a success nor a failure, whatever ``classify`` would say, and frees its permit.
    """

    async def acall(self, service: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Await ``service`` if the breaker admits it, and count how it ends. On asyncio and trio.

        Raises:
            BreakerOpen: the call was not made.
            ConfigurationError: anyio is not installed, or ``service`` gives nothing to await.
            BaseException: whatever ``service`` raises.

        Example:
            >>> import asyncio
            >>> from celery_breaker import Breaker
            >>> asyncio.run(Breaker("example-search", store="memory://").acall(asyncio.sleep, 0, "found"))
            'found'
        """
        ticket = await self._admitted()
        started = self._now()
        try:
            waiting = service(*args, **kwargs)
            if not inspect.isawaitable(waiting):
                raise ConfigurationError(f"acall awaits what {service!r} returns, which cannot be awaited; use call")
            result = await waiting
        except BaseException as exc:
            self._broke_off(ticket, started, exc)
            raise
        self._succeeded(ticket, started, result)
        return result

    async def __aenter__(self: Self) -> Self:  # noqa: PYI019 -- `typing.Self` needs Python 3.11
        ticket = await self._admitted()
        blocks.enter(self, Block(ticket, self._now()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        block = blocks.leave(self)
        if exc is None:
            self._succeeded(block.ticket, block.started)
        else:
            self._broke_off(block.ticket, block.started, exc)

    # --- decorating -------------------------------------------------------------------------------------------------

    def _asynchronous(self, service: Callable[P, R]) -> Callable[P, R] | None:
        """A coroutine function, or an async generator function, that goes through this breaker; else nothing."""
        for function in (service, type(service).__call__):
            if inspect.iscoroutinefunction(function):
                _check_extra()
                return cast("Callable[P, R]", self._coroutine_function(service))
            if inspect.isasyncgenfunction(function):
                _check_extra()
                return cast("Callable[P, R]", self._generator_function(service))
        return None

    def _coroutine_function(self, service: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(service)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            return await self.acall(service, *args, **kwargs)

        return guarded

    def _generator_function(self, service: Callable[..., Any]) -> Callable[..., Any]:
        """The call lasts from the first item asked for to the end; its duration is the time spent in ``service``.

        A consumer that closes it early has had what it wanted, so that is a success.
        """

        @functools.wraps(service)
        async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            ticket = await self._admitted()
            spent, resumed, closing = 0.0, self._now(), False
            try:
                source = service(*args, **kwargs)
                go_on = source.__anext__
                while True:
                    item = await go_on()
                    if closing:
                        break
                    spent += self._now() - resumed
                    try:
                        sent = yield item
                    except GeneratorExit:
                        go_on, closing = source.aclose, True
                    except BaseException as exc:
                        go_on = functools.partial(source.athrow, exc)
                    else:
                        go_on = functools.partial(source.asend, sent)
                    resumed = self._now()
            except StopAsyncIteration:
                pass
            except BaseException as exc:
                self._broke_off(ticket, resumed - spent, exc)
                raise
            self._succeeded(ticket, resumed - spent)

        return guarded

    # --- the way in and out -----------------------------------------------------------------------------------------

    async def _admitted(self) -> Ticket:
        _check_extra()
        if (cell := self._cell) is not None:
            ticket = cell.ticket
            if cell.passing:
                return ticket
        return await self._sought()

    async def _sought(self) -> Ticket:
        from celery_breaker.engine.event_loop import in_thread

        if (at_hand := self._at_hand()) is None:
            at_hand = await in_thread(functools.partial(self._own, registry_from_here()), unwanted=_keep)
        registry, cell = at_hand
        ticket: Ticket | None = cell.ticket
        if not cell.passing:
            ticket = self._from_memory(registry, cell) or await _asked(registry, cell)
        return ticket or self._refuse(registry, cell)

    def _from_memory(self, registry: Registry, cell: Cell) -> Ticket | None:
        """A ticket or a refusal, unless only the store can say.

        While as many tasks of this loop ask for a permit as there are permits, the others need not ask.
        """
        from celery_breaker.engine.event_loop import asking

        if not cell.known:
            return None
        said = registry.admission(cell)
        if said is Admission.ADMIT or (said is Admission.PLACE and registry.take_place(cell)):
            return cell.ticket
        crowded = said is Admission.PERMIT and asking()[cell] >= cell.policy.half_open_calls
        if said is Admission.REFUSE or crowded or registry.full(cell):
            self._refuse(registry, cell)
        return None

    def _succeeded(self, ticket: Ticket, started: float, result: object = None) -> None:
        if ticket.cell.plain and ticket.permit is None:
            next(ticket.counter)
        else:
            self._ended(ticket, started, result=result)

    def _broke_off(self, ticket: Ticket, started: float, exc: BaseException) -> None:
        from celery_breaker.engine.event_loop import cancels

        if isinstance(exc, GeneratorExit) or cancels(exc):
            assert self._registry is not None
            self._registry.report(Outcome(ticket, Verdict.NEUTRAL))
        else:
            self._ended(ticket, started, exception=exc)


async def _asked(registry: Registry, cell: Cell) -> Ticket | None:
    from celery_breaker.engine.event_loop import asking, in_thread

    crowd = asking()
    crowd[cell] += 1
    try:
        return await in_thread(
            functools.partial(registry.enter, cell), unwanted=functools.partial(_give_back, registry)
        )
    finally:
        crowd[cell] -= 1
        if not crowd[cell]:
            del crowd[cell]


def _keep(_at_hand: tuple[Registry, Cell]) -> None:
    """The breaker has it, and the next call will find it there."""


def _give_back(registry: Registry, ticket: Ticket | None) -> None:
    """Hand a permit that nobody waits for any more to the reporter, which frees it."""
    if ticket is not None:
        registry.unused(ticket)
