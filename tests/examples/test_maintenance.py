"""docs/examples/maintenance.py does what the page says."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from celery_breaker import Breaker, Mode, State
from celery_breaker.plugin.app import breakers_of
from tests.examples import current, load
from tests.support.servers import RedisServer


def test_windows_begin_and_end_as_they_say(redis_server: RedisServer) -> None:
    example = load("maintenance")
    example.app.conf.breaker_store = redis_server.url_for(3)
    bank, seen = Breaker("bank"), list[tuple[State, Mode]]()

    def look() -> None:
        seen.append((bank.state, bank.mode))

    with current(example.app):
        example.deploy([look])
        example.drill(look)
        assert seen == [(State.OPEN, Mode.FORCED_OPEN), (State.CLOSED, Mode.DISABLED)]
        assert bank.mode is Mode.AUTO
        example.until_morning(datetime.now(timezone.utc) + timedelta(hours=8))
        assert bank.retry_after == pytest.approx(8 * 3600, abs=60)
        for entry in example.app.conf.beat_schedule.values():
            example.app.tasks[entry["task"]](*entry["args"], **entry["kwargs"])
        assert (bank.state, bank.mode) == (State.CLOSED, Mode.AUTO)  # the last of them is the reset
        breakers_of(example.app).registry.forget("bank")
