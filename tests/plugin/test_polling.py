"""Where kombu polls by itself, a queue that is consumed again is still asked by one poll at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from vine import promise

from celery_breaker.clock import ManualClock
from celery_breaker.plugin.pausing import polling


class Channel:
    """Asks as kombu's channel of SQS does: each answer leads to the next question, as long as the queue is consumed."""

    wait_time_seconds = 10

    def __init__(self) -> None:
        self.asked: list[tuple[str, Callable[..., Any]]] = []
        self.consumed = {"mail"}

    def consume(self, queue: str) -> None:
        self.consumed.add(queue)
        self._schedule(queue)

    def _schedule(self, queue: str, found: int = 0) -> None:
        if queue in self.consumed:
            self._get_bulk_async(queue, callback=promise(self._schedule, (queue,)))

    def _get_bulk_async(self, queue: str, max_if_unlimited: int = 10, callback: Any = None) -> None:
        self.asked.append((queue, callback))

    def answer(self) -> None:
        """All questions that are open."""
        asked, self.asked = self.asked, []
        for _, callback in asked:
            callback(0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    clock = ManualClock(100.0)
    monkeypatch.setattr(polling, "monotonic", clock)
    return clock


@pytest.fixture
def channel(clock: ManualClock) -> Channel:
    channel = Channel()
    channel.consume("mail")
    for _ in range(2):
        polling.one_at_a_time(channel)
    return channel


def test_a_queue_that_stops_and_goes_on_before_its_poll_is_answered_is_polled_once(channel: Channel) -> None:
    for _ in range(5):
        channel.consumed.clear()
        channel.consume("mail")
    for _ in range(3):
        channel.answer()
        assert [queue for queue, _ in channel.asked] == ["mail"]


def test_each_queue_has_its_own_poll(channel: Channel) -> None:
    channel.answer()
    channel.consume("other")
    assert [queue for queue, _ in channel.asked] == ["mail", "other"]


def test_a_poll_that_is_never_answered_does_not_stand_in_the_way_for_good(channel: Channel, clock: ManualClock) -> None:
    channel.answer()
    channel.asked.clear()  # lost
    channel.consume("mail")
    assert channel.asked == []
    clock.advance(41)
    channel.consume("mail")
    assert len(channel.asked) == 1


def test_a_channel_that_does_not_poll_is_left_alone() -> None:
    channel = object()
    polling.one_at_a_time(channel)
    assert polling.hurried(channel) is channel
    assert polling.takers(channel) == {}
    assert not polling.polls(channel)
