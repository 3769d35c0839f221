"""Until when: as people say it, to seconds from now."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.engine.until import seconds_until
from celery_breaker.errors import ConfigurationError

NOW = datetime(2030, 3, 31, 0, 30, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "until",
    [
        3600,
        timedelta(hours=1),
        NOW + timedelta(hours=1),
        datetime(2030, 3, 31, 4, 30, tzinfo=timezone(timedelta(hours=3))),
    ],
    ids=["seconds", "timedelta", "a time", "a time elsewhere"],
)
def test_every_way_to_say_it_means_the_same(until: Any) -> None:
    assert seconds_until(until, now=NOW) == 3600.0


@pytest.mark.parametrize(
    ("until", "sentence"),
    [
        (NOW.replace(tzinfo=None), "until=2030-03-31T00:30:00 has no time zone; give it one, like timezone.utc"),
        (NOW, "must lie ahead"),
        (timedelta(0), "must lie ahead"),
        (-1, "until=-1 must lie ahead"),
        (float("inf"), "must lie ahead"),
        (float("nan"), "must lie ahead"),
        (True, "must be an aware datetime, a timedelta or a number of seconds"),
        ("1h", "until='1h' must be an aware datetime"),
        (None, "until=None must be an aware datetime"),
    ],
)
def test_what_is_no_end_is_refused_in_one_sentence(until: Any, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        seconds_until(until, now=NOW)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


@given(st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=3000)))
def test_a_time_ahead_is_as_far_as_the_time_between(ahead: timedelta) -> None:
    assert seconds_until(NOW + ahead, now=NOW) == seconds_until(ahead, now=NOW) == ahead.total_seconds()
