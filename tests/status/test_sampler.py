"""The sampler: one look for all who watch, which goes on while the store is away."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from celery_breaker.status.sampler import Sampler, Seen
from tests.engine.world import fail, succeed
from tests.status.desks import QUICK, Declared, Office, office


@pytest.fixture
def at() -> Office:
    return office()


@pytest.fixture
def sampler(at: Office) -> Sampler:
    return Sampler(at.desk, clock=at.clock)


def test_a_look_sees_all_breakers(at: Office, sampler: Sampler) -> None:
    assert sampler.seen == Seen()
    fail(at.registry, 3)
    seen = sampler.look()
    assert (seen.number, seen.at, seen.error) == (1, 1_000_000.0, "")
    assert seen.statuses["smtp"].state == "open"
    assert sampler.seen is seen


def test_what_was_seen_stays_while_the_store_is_away_and_the_reason_is_told(at: Office, sampler: Sampler) -> None:
    before = sampler.look()
    at.server.down = True
    seen = sampler.look()
    assert (seen.statuses, seen.at) == (before.statuses, before.at)
    assert "connection refused" in seen.error or "did not answer" in seen.error
    at.server.down = False
    at.clock.advance(10)
    assert sampler.look().error == ""


def test_many_who_wait_for_the_first_look_share_one(at: Office, sampler: Sampler) -> None:
    looks = []
    at.server.before = lambda operation: looks.append(operation) if operation == "names" else None
    gate = threading.Barrier(8)

    def ask(_: int) -> Seen:
        gate.wait(20)
        return sampler.first()

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(ask, range(8)))
    assert looks == ["names"]
    assert {one.number for one in seen} == {1}


def test_listeners_hear_of_each_look_until_they_stop_and_none_hurts_another(sampler: Sampler) -> None:
    heard: list[int] = []

    def broken(_seen: Seen) -> None:
        raise RuntimeError("as the test says")

    sampler.listen(broken)
    stop = sampler.listen(lambda seen: heard.append(seen.number))
    sampler.look()
    sampler.look()
    stop()
    sampler.look()
    assert heard == [1, 2]


def test_the_series_of_a_breaker_follows_its_window(at: Office, sampler: Sampler) -> None:
    for _ in range(3):
        at.clock.advance(5)
        sampler.look()
    fail(at.registry, 2)
    at.lots.park("smtp", 7)
    for _ in range(3):
        at.clock.advance(5)
        sampler.look()
    points = list(sampler.series("smtp"))
    assert [point.failures for point in points] == [0, 0, 2, 2]
    assert points[-1].parked == 7
    assert points[-1].at == at.clock()


def test_ten_thousand_idle_breakers_cost_no_look_at_each_window() -> None:
    names = [f"webhook:{number}" for number in range(10_000)]
    at = office(Declared(declared=dict.fromkeys(names, QUICK)))
    sampler = Sampler(at.desk, clock=at.clock)
    sampler.look()
    at.server.calls.clear()
    sampler.look()
    assert at.server.calls.count("read") == 1
    assert at.server.calls.count("tally") <= 500


def test_a_look_that_takes_long_is_followed_by_a_longer_pause(at: Office, sampler: Sampler) -> None:
    assert sampler._work() == 1.0

    def slowly(operation: str) -> None:
        if operation == "read":
            at.clock.advance(0.5)

    at.server.before = slowly
    assert sampler._work() == 1.5


def test_a_busy_breaker_among_many_is_found_and_then_followed() -> None:
    names = [f"webhook:{number}" for number in range(2_000)]
    at = office(Declared(declared=dict.fromkeys(names, QUICK)))
    sampler = Sampler(at.desk, clock=at.clock)
    sampler.look()
    succeed(at.registry, 5, "webhook:1999")
    at.clock.advance(10)
    at.registry.work()
    looks = next(number for number in range(1, 10) if sampler.look().statuses["webhook:1999"].calls)
    assert looks <= 5
    fail(at.registry, 1, "webhook:1999")
    assert sampler.look().statuses["webhook:1999"].calls == 6


def test_a_breaker_that_is_forgotten_leaves_nothing(at: Office, sampler: Sampler) -> None:
    fail(at.registry, 3, "webhook:a")
    sampler.look()
    assert len(sampler.series("webhook:a")) == 1
    at.registry.forget("webhook:a")
    sampler.look()
    assert "webhook:a" not in sampler.seen.statuses
    assert len(sampler.series("webhook:a")) == 0
