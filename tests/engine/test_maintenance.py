"""Maintenance: forced from a moment on, lifted at its end and by nobody's mistake."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from celery_breaker.core.record import Mode, Record
from celery_breaker.engine.breaker import Breaker
from celery_breaker.engine.registry import Registry
from celery_breaker.errors import BreakerOpen, ConfigurationError, StoreError
from tests.engine.world import World, breaker_in


def record_of(registry: Registry) -> Record:
    return registry.cell("smtp").record


def test_a_plain_call_forces_open_until_its_end(breaker: Breaker, registry: Registry, world: World) -> None:
    breaker.maintenance(until=600, reason="upgrade", by="eve")
    override = record_of(registry).override
    assert override is not None
    assert (override.mode, override.reason, override.by) == (Mode.FORCED_OPEN, "upgrade", "eve")
    with pytest.raises(BreakerOpen):
        breaker.call(int)
    world.clock.advance(599)
    with pytest.raises(BreakerOpen):
        breaker.call(int)
    world.clock.advance(2)
    assert breaker.call(int) == 0


def test_a_time_counts_from_now_whatever_the_stores_clock_says(
    breaker: Breaker, registry: Registry, world: World
) -> None:
    breaker.maintenance(until=datetime.now(timezone.utc) + timedelta(hours=1))
    override = record_of(registry).override
    assert override is not None
    assert override.expires is not None
    assert override.expires - registry.link.now() == pytest.approx(3600, abs=60)


def test_the_block_lifts_it_early(breaker: Breaker) -> None:
    with breaker.maintenance(until=600):
        assert breaker.mode is Mode.FORCED_OPEN
    assert breaker.mode is Mode.AUTO
    assert breaker.call(int) == 0


def test_the_block_lifts_it_when_the_work_fails(breaker: Breaker) -> None:
    with pytest.raises(LookupError), breaker.maintenance(until=600):
        raise LookupError("no such table")
    assert breaker.mode is Mode.AUTO


def test_what_somebody_else_has_said_meanwhile_stays(breaker: Breaker, world: World) -> None:
    other = breaker_in(world.process("w2"))
    with breaker.maintenance(until=600):
        world.clock.advance(1)
        other.open(reason="not yet", by="eve")
    assert breaker.mode is Mode.FORCED_OPEN
    with breaker.maintenance(until=600):
        world.clock.advance(1)
        other.auto()
        other.disable()
    assert breaker.mode is Mode.DISABLED


def test_what_an_operator_forced_before_counts_again(breaker: Breaker, registry: Registry) -> None:
    breaker.open(reason="for good", by="eve")
    before = record_of(registry).override
    with breaker.maintenance(until=600, admit=True):
        assert breaker.mode is Mode.DISABLED
    assert record_of(registry).override == before


def test_what_has_expired_meanwhile_does_not_count_again(breaker: Breaker, world: World) -> None:
    breaker.open(expires=10)
    with breaker.maintenance(until=600):
        world.clock.advance(11)
    assert breaker.mode is Mode.AUTO


def test_blocks_may_nest(breaker: Breaker) -> None:
    with breaker.maintenance(until=600, by="outer"):
        with breaker.maintenance(until=60, by="inner", admit=True):
            assert breaker.mode is Mode.DISABLED
        assert breaker.mode is Mode.FORCED_OPEN
    assert breaker.mode is Mode.AUTO


def test_ending_it_twice_does_no_harm(breaker: Breaker) -> None:
    maintenance = breaker.maintenance(until=600)
    maintenance.end()
    breaker.open()
    maintenance.end()
    assert breaker.mode is Mode.FORCED_OPEN


def test_admitting_everything_holds_the_state_still(breaker: Breaker, registry: Registry) -> None:
    with breaker.maintenance(until=600, admit=True):
        for _ in range(10):
            with pytest.raises(OSError, match="worked on"):
                breaker.call(_fail)
        registry.work()
        assert str(breaker.state) == "closed"
    assert str(breaker.state) == "closed"


def _fail() -> None:
    raise OSError("worked on")


def test_an_end_without_a_time_zone_forces_nothing(breaker: Breaker) -> None:
    with pytest.raises(ConfigurationError, match="has no time zone"):
        breaker.maintenance(until=datetime.now(timezone.utc).replace(tzinfo=None))
    assert breaker.mode is Mode.AUTO


def test_a_store_that_is_away_at_the_end_is_told(breaker: Breaker, world: World) -> None:
    with pytest.raises(StoreError, match="its store is out of reach"), breaker.maintenance(until=600):
        world.server.down = True


def test_a_store_that_is_away_never_hides_what_went_wrong_within(
    breaker: Breaker, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def work() -> None:
        with breaker.maintenance(until=600):
            world.server.down = True
            raise LookupError("no such table")

    with pytest.raises(LookupError):
        work()
    assert "maintenance of breaker 'smtp' ends at its time only" in caplog.text
