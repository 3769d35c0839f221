"""The pure parts of the pages: drawings of figures, stories from journals, and what is new on a page."""

from __future__ import annotations

import json

import pytest

from celery_breaker.core.journal import Entry, Event
from celery_breaker.core.policy import Policy
from celery_breaker.status.series import Point
from celery_breaker.web import charts, story
from celery_breaker.web.drawing import Drawing, Part, Trace

# --- charts -----------------------------------------------------------------------------------------------------------


def test_a_sparkline_ends_at_the_present_and_is_as_high_as_the_rate() -> None:
    points = [Point(400.0, 10, 0, 0, 0), Point(700.0, 10, 5, 0, 0), Point(1000.0, 10, 10, 0, 0)]
    drawn = charts.spark(points, end=1000.0, threshold=0.5)
    assert drawn.line == "M0 19.0L48 10.0L96 1.0"
    assert drawn.threshold == 10.0
    assert drawn.words == "at worst 100% in the last 10 minutes"


def test_a_sparkline_begins_with_what_was_the_case_before() -> None:
    drawn = charts.spark([Point(0.0, 4, 2, 0, 0), Point(990.0, 4, 2, 0, 0)], end=1000.0)
    assert drawn.line.startswith("M0 10.0")


@pytest.mark.parametrize("points", [[], [Point(5.0, 0, 0, 0, 3)]])
def test_where_nothing_was_called_no_line_is_drawn(points: list[Point]) -> None:
    assert charts.spark(points, end=10.0) == charts.Spark("", "", None, "")


def opened(at: float) -> Entry:
    return Entry(at=at, event=Event.TRANSITION, what="open", before="closed")


def closed(at: float) -> Entry:
    return Entry(at=at, event=Event.TRANSITION, what="closed", before="half_open")


def test_a_chart_is_shaded_while_the_breaker_was_open() -> None:
    points = tuple(Point(float(at), 1, 0, 0, at) for at in range(0, 3601, 600))
    history = [opened(3000.0), closed(1800.0), opened(1200.0)]
    chart = charts.parked_chart(charts.Course(points, history, 3600.0))
    assert chart.shades == ((200.0, 100.0), (500.0, 100.0))
    assert (chart.top, chart.lines[0].now) == ("3,600", "3,600")


def test_an_opening_before_the_chart_begins_is_shaded_from_its_edge_on() -> None:
    points = (Point(9000.0, 1, 0, 0, 0), Point(10_000.0, 1, 0, 0, 0))
    chart = charts.parked_chart(charts.Course(points, [opened(100.0)], 10_000.0))
    assert chart.shades == ((0.0, 600.0),)


def test_the_table_of_a_chart_stays_short_and_ends_with_the_present() -> None:
    points = tuple(Point(float(at), at, at // 2, 0, 0) for at in range(700))
    chart = charts.calls_chart(charts.Course(points, [], 700.0), window="1 min")
    assert len(chart.table) <= 24
    assert chart.table[-1] == (699.0, (699, 0, 349))
    assert "failed: now 349, at most 349" in chart.words


def test_an_empty_chart_has_no_lines() -> None:
    chart = charts.calls_chart(charts.Course((), [], 10_000.0), window="1 min")
    assert {line.line for line in chart.lines} == {""}
    assert chart.table == ()


# --- stories ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (Entry(at=1, event=Event.TRANSITION, what="open", count=1), "opened"),
        (Entry(at=1, event=Event.TRANSITION, what="open", count=3), "opened, 3rd time without recovery"),
        (Entry(at=1, event=Event.TRANSITION, what="half_open"), "half-opened, for probes"),
        (Entry(at=1, event=Event.TRANSITION, what="molten"), "molten"),
        (Entry(at=1, event=Event.OVERRIDE, what="auto"), "override lifted"),
        (Entry(at=1, event=Event.OVERRIDE, what="haunted"), "haunted"),
        (Entry(at=1, event=Event.RELEASED, count=1), "1 task released by hand"),
        (Entry(at=1, event=Event.PURGED, count=1200), "1,200 tasks deleted"),
    ],
)
def test_each_entry_of_a_journal_is_told_in_words(entry: Entry, says: str) -> None:
    [step] = story.steps_of([entry])
    assert step.says == says


def test_who_closed_it_by_hand_is_said_once() -> None:
    entry = Entry(at=1, event=Event.TRANSITION, what="closed", reason="closed by web:eve: back", by="web:eve")
    [step] = story.steps_of([entry])
    assert (step.why, step.by) == ("closed by web:eve: back", "")


@pytest.mark.parametrize(
    ("failures", "noted"),
    [({"a": 9, "b": 1}, True), ({"a": 5, "b": 5}, False), ({"a": 10}, False), ({"a": 2, "b": 0}, False), ({}, False)],
)
def test_a_worker_that_fails_alone_stands_out(failures: dict[str, int], noted: bool) -> None:
    assert bool(story.workers_of(failures)[1]) is noted


def test_a_policy_is_told_in_words_with_what_was_chosen_first() -> None:
    def check() -> bool:
        return True

    policy = Policy(failure_window="100 calls", ignore=(KeyError, "app.Odd"), recovery_timeout=90, health_check=check)
    told = {option.name: option.value for option in story.policy_of(policy)}
    assert list(told)[:4] == ["failure_window", "recovery_timeout", "ignore", "health_check"]
    assert (told["failure_window"], told["ignore"]) == ("100 calls", "KeyError, app.Odd")
    assert (told["recovery_timeout"], told["failure_rate"]) == ("1 min 30 s", "50%")
    assert (told["classify"], told["ramp_start"]) == ("none", "10/s")
    assert told["health_check"].endswith("check")


# --- what is new ------------------------------------------------------------------------------------------------------


def drawing(**shows: object) -> Drawing:
    def part(name: str, value: object) -> Part:
        return Part(value, lambda now: f"<b>{name} {value} at {now:g}</b>")

    return Drawing(title="t", parts={name: part(name, value) for name, value in shows.items()}, looks={"smtp": "open"})


def test_a_part_is_sent_when_what_it_shows_differs_and_not_when_time_passes() -> None:
    trace = Trace()
    assert json.loads(trace.new(drawing(a=1, b=1), 5.0))["parts"] == {"a": "<b>a 1 at 5</b>", "b": "<b>b 1 at 5</b>"}
    assert trace.new(drawing(a=1, b=1), 6.0) == ""
    assert json.loads(trace.new(drawing(a=1, b=2), 7.0)) == {"now": 7.0, "parts": {"b": "<b>b 2 at 7</b>"}}


def test_many_changes_are_spoken_of_in_a_few_words() -> None:
    trace = Trace()
    names = [f"svc-{number}" for number in range(10)]
    trace.new(Drawing(title="t", parts={}, looks=dict.fromkeys(names, "closed")), 1.0)
    said = json.loads(trace.new(Drawing(title="t", parts={}, looks=dict.fromkeys(names, "open")), 2.0))["say"]
    assert said == "svc-0 is open, svc-1 is open, svc-2 is open, and 7 more changed"
