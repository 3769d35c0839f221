"""Which `async with` block is being left, where many tasks share one breaker and a generator's may end in another."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from celery_breaker.engine.view import Ticket
from celery_breaker.errors import BreakerError

__all__ = ["Block", "blocks"]


@dataclass(frozen=True, slots=True)
class Block:
    """A block that was entered, and when, in seconds of the registry's clock."""

    ticket: Ticket
    started: float


class _Blocks(threading.local):
    """The open blocks of the event loop in this thread, by breaker and task.

    A context variable would not do: what an async generator sets is seen by whoever iterates over it, and not by the
    task in which it may be closed.
    """

    def __init__(self) -> None:
        self._open: dict[object, dict[int, list[Block]]] = {}

    def enter(self, breaker: object, block: Block) -> None:
        from celery_breaker.engine.event_loop import task_id

        self._open.setdefault(breaker, {}).setdefault(task_id(), []).append(block)

    def leave(self, breaker: object) -> Block:
        """The last block that this task has entered; else, as a generator's is closed elsewhere, the last of any task.

        Each block is given once, so none is lost; at worst two calls of one breaker that overlap swap their outcomes.
        """
        from celery_breaker.engine.event_loop import task_id

        tasks = self._open.get(breaker)
        if not tasks:
            raise BreakerError(f"{breaker!r} was not entered in this thread; leave a block where it was entered")
        task = task_id()
        if task not in tasks:
            task = next(reversed(tasks))
        block = tasks[task].pop()
        if not tasks[task]:
            del tasks[task]
        if not tasks:
            del self._open[breaker]
        return block


blocks = _Blocks()
