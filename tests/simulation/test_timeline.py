from __future__ import annotations

from collections.abc import Generator

from celery_breaker.simulation.timeline import Timeline


def test_events_happen_in_the_order_of_their_time() -> None:
    timeline, seen = Timeline(), list[str]()
    timeline.after(2.0, seen.append, "late")
    timeline.at(1.0, seen.append, "early")
    timeline.run(until=3.0)
    assert seen == ["early", "late"]
    assert timeline.now == 3.0


def test_events_of_one_time_happen_in_the_order_they_were_asked_for() -> None:
    timeline, seen = Timeline(), list[int]()
    for number in range(50):
        timeline.at(1.0, seen.append, number)
    timeline.run(until=1.0)
    assert seen == list(range(50))


def test_an_event_past_the_end_waits_for_the_next_run() -> None:
    timeline, seen = Timeline(), list[str]()
    timeline.after(5.0, seen.append, "x")
    timeline.run(until=4.9)
    assert seen == []
    timeline.run(until=5.0)
    assert seen == ["x"]


def test_a_process_goes_on_after_the_seconds_it_yields() -> None:
    timeline, seen = Timeline(), list[float]()

    def process() -> Generator[float, None, None]:
        for pause in (1.0, 0.0, 2.5):
            yield pause
            seen.append(timeline.now)

    timeline.spawn(process())
    timeline.run(until=10.0)
    assert seen == [1.0, 1.0, 3.5]
