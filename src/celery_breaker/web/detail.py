"""The page of one breaker as a drawing."""

from __future__ import annotations

import math
from collections import Counter

from celery_breaker.status import Desk, Status
from celery_breaker.status.sampler import Sampler, Seen
from celery_breaker.web import story
from celery_breaker.web.banners import alarms
from celery_breaker.web.charts import Course, calls_chart, parked_chart
from celery_breaker.web.drawing import Drawing, Part
from celery_breaker.web.overview import banner_part
from celery_breaker.web.rows import LOOKS, look_of
from celery_breaker.web.templating import render
from celery_breaker.web.wall import Wall

__all__ = ["detail", "gone"]

_CHART_STEP = 5.0
"""Seconds by which charts move on."""


def detail(wall: Wall, seen: Seen, status: Status, *, desk: Desk, sampler: Sampler) -> Drawing:
    """All that is known of one breaker."""
    row = wall.row(status, seen)
    look = LOOKS[look_of(status)]
    journal = wall.journal(status, seen)
    end = math.ceil(seen.at / _CHART_STEP) * _CHART_STEP
    told = Course(list(sampler.series(status.name)), journal.history, end)
    window = story.window_words(desk.catalogue.of(status.name))
    drawn = (calls_chart(told, window=window), parked_chart(told))
    recent = Counter(entry.by for entry in journal.failures if entry.by)  # a trip begins a new window
    failing, note = story.workers_of(status.workers or recent)
    facts = {
        "row": row,
        "trips": status.trips if status.state != "closed" else 0,
        "fault": None if status.time_since_fault is None else float(round(seen.at - status.time_since_fault)),
        "rate": status.release_rate if status.returning else 0.0,
    }
    steps, failures = story.steps_of(journal.history), story.failures_of(journal.failures)
    return Drawing(
        title=f"{row.name}: {look}",
        parts={
            "banners": banner_part(seen, tend_interval=desk.tend_interval),
            "head": _part("head.html", **facts),
            "charts": _part("charts.html", drawn=drawn),
            "failing": _part("failing.html", workers=failing, note=note, recent=not status.workers),
            "failures": _part("failures.html", failures=failures, error=journal.error),
            "timeline": _part("timeline.html", steps=steps, error=journal.error),
        },
        looks={**alarms(seen, tend_interval=desk.tend_interval), row.name: look},
    )


def gone(name: str, seen: Seen, *, desk: Desk) -> Drawing:
    """What the page shows once its breaker was forgotten."""
    return Drawing(
        title=f"{name}: forgotten",
        parts={
            "banners": banner_part(seen, tend_interval=desk.tend_interval),
            "head": _part("gone.html", name=name),
        },
    )


def _part(template: str, **values: object) -> Part:
    shows = tuple(sorted(values.items(), key=_key))
    return Part(shows, lambda now: render(template, now=now, **values))


def _key(item: tuple[str, object]) -> str:
    return item[0]
