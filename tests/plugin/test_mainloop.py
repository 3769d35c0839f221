"""The worker's main loop, as other threads see it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from kombu import Queue

from celery_breaker.plugin import mainloop
from celery_breaker.plugin.mainloop import MainLoop


class Consumer:
    """A consumer with an event loop, whose turns a test takes."""

    def __init__(self) -> None:
        self.hub = SimpleNamespace(_waker=None)
        self.pool = object()
        self.task_consumer: Any = None
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def call_soon(self, call: Callable[..., Any], *args: Any) -> None:
        self.calls.append((call, args))

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call, args in calls:
            call(*args)


@pytest.fixture
def freed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    freed: list[str] = []

    def forget(message: str) -> None:
        if message == "broken":
            raise LookupError(message)
        freed.append(message)

    monkeypatch.setattr(mainloop, "forget_locally", forget)
    return freed


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
def loop(consumer: Consumer) -> MainLoop:
    loop = MainLoop()
    loop.attach(consumer)
    return loop


def forget(loop: MainLoop, *messages: Any) -> None:
    for message in messages:
        loop.forget(message)


def test_messages_that_are_gone_together_are_freed_in_one_turn_of_the_loop(
    loop: MainLoop, consumer: Consumer, freed: list[str]
) -> None:
    forget(loop, "a", "b", "c")
    assert len(consumer.calls) == 1
    consumer.turn()
    assert freed == ["a", "b", "c"]
    forget(loop, "d")
    consumer.turn()
    assert freed == ["a", "b", "c", "d"]


def test_one_that_cannot_be_freed_keeps_none_of_the_others(
    loop: MainLoop, consumer: Consumer, freed: list[str]
) -> None:
    forget(loop, "broken", "b")
    consumer.turn()
    forget(loop, "c")
    consumer.turn()
    assert freed == ["b", "c"]


def test_a_loop_that_ended_before_it_looked_does_not_keep_the_next_from_looking(
    loop: MainLoop, consumer: Consumer, freed: list[str]
) -> None:
    forget(loop, "of the lost connection")
    consumer.calls.clear()
    loop.lost()
    loop.attach(consumer)
    forget(loop, "new")
    consumer.turn()
    assert freed == ["new"]


def test_what_came_from_a_queue_that_is_consumed_no_more_has_an_origin_still(
    loop: MainLoop, consumer: Consumer
) -> None:
    queue, info = Queue("mail"), {"consumer_tag": "c1", "exchange": "", "routing_key": "mail"}
    consumer.task_consumer = SimpleNamespace(queues=[queue], _active_tags={"mail": "c1"})
    loop.remember(queue)
    consumer.task_consumer = SimpleNamespace(queues=[], _active_tags={})
    message: Any = SimpleNamespace(delivery_info=info, channel=None)
    assert loop.origin(message) == "mail"
    loop.attach(consumer)
    assert loop.origin(message) is None, "a new connection counts its consumers anew"


def test_what_was_fetched_has_the_queue_it_was_fetched_from_as_its_origin(loop: MainLoop, consumer: Consumer) -> None:
    consumer.task_consumer = SimpleNamespace(queues=[Queue("mail"), Queue("bulk")], _active_tags={})
    message: Any = SimpleNamespace(delivery_info={"exchange": "", "routing_key": "both"}, channel=None)
    loop.fetched(message, "bulk")
    assert loop.origin(message) == "bulk"
