"""Announcements say when they were sent, so that their delay can be told."""

from __future__ import annotations

import math
from typing import Any

import pytest
from celery import Celery

from celery_breaker.engine.meters import Meter
from celery_breaker.engine.registry import Registry
from celery_breaker.plugin.bus.bus import Bus, delay_of, hints
from celery_breaker.plugin.bus.peers import BusPeers
from celery_breaker.stores.message import MessageStore
from tests.engine.world import World, fail


class Delays(Meter):
    def __init__(self) -> None:
        self.seconds: list[float] = []

    def bus_delayed(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def app() -> Celery:
    return Celery("tests", broker="memory://", set_as_current=False)


def measured(registry: Registry) -> Delays:
    delays = Delays()
    registry.meters.add(delays)
    return delays


@pytest.mark.parametrize(
    ("body", "delay"),
    [
        ({"at": 1000.0}, 0.5),
        ({"at": 1001}, 0.0),
        ({}, None),
        ({"at": "noon"}, None),
        ({"at": None}, None),
        ({"at": True}, None),
        ({"at": math.nan}, None),
        ({"at": -math.inf}, None),
        ({"at": 10**400}, None),
        ({"at": -10_000}, None),
        ("garbage", None),
    ],
)
def test_only_a_time_that_can_be_is_a_delay(body: object, delay: float | None) -> None:
    assert delay_of(body, 1000.5) == delay


def test_an_announcement_says_when_it_was_sent_by_the_store_s_clock(app: Celery, monkeypatch: Any) -> None:
    world = World()
    registry, other = world.process("w1"), world.process("w2", skew=5.0)
    sent: list[Any] = []
    monkeypatch.setattr(Bus, "send", lambda self, note: sent.append(note))
    hints(app, registry)
    heard = hints(app, other)._on_message
    delays = measured(other)
    fail(registry, 3)
    assert sent == [{"name": "smtp", "version": 1, "at": 1_000_000.0}]
    other.work()
    world.clock.advance(0.25)
    heard(sent[0])
    assert delays.seconds == [0.25]


def test_an_announcement_that_does_not_say_so_is_a_hint_all_the_same(app: Celery) -> None:
    world = World()
    registry, other = world.process("w1"), world.process("w2")
    other.cell("smtp")
    other.work()
    delays = measured(other)
    fail(registry, 3)
    hints(app, other)._on_message({"name": "smtp", "version": 1})
    other.work()
    assert not other.cell("smtp").passing
    assert delays.seconds == []


def test_peers_of_a_message_store_measure_it_too(app: Celery, monkeypatch: Any) -> None:
    world = World()
    registry = world.process()
    delays = measured(registry)
    sent: list[Any] = []
    monkeypatch.setattr(Bus, "send", lambda self, note: sent.append(note))
    monkeypatch.setattr(Bus, "wake", lambda self: None)
    peers = BusPeers(app, MessageStore(), prefix="test", timeout=0.1, registry=registry)
    peers.tell({"have": {}})
    assert sent[0]["at"] == registry.link.now()
    world.clock.advance(0.5)
    peers._heard(sent[0])
    assert delays.seconds == [0.5]
