from __future__ import annotations

from dataclasses import replace

from celery_breaker.core.record import Record, State
from celery_breaker.core.windows import Window
from celery_breaker.simulation.scenario import Fleet
from celery_breaker.simulation.store import SimulatedStore
from celery_breaker.simulation.timeline import Timeline
from celery_breaker.simulation.views import Views
from celery_breaker.simulation.worker import Worker

FRESH = Record(name="x")


def views_of(*phases: float, **options: float | None) -> tuple[Timeline, SimulatedStore, Views, list[Worker]]:
    """Workers whose first reads are at these seconds, a second apart from then on."""
    timeline = Timeline()
    store = SimulatedStore(timeline, FRESH, Window(span=60.0), lambda kind, count: None)
    workers = [Worker(n, phase=phase, slots=1, record=FRESH, flushed=0) for n, phase in enumerate(phases)]
    fleet = Fleet(workers=len(workers), **{"store_latency": 0.001, "bus_delay": None, **options})  # type: ignore[arg-type]
    return timeline, store, Views(timeline, store, workers, fleet), workers


def opened(record: Record, now: float) -> Record:
    return replace(record, state=State.OPEN, generation=record.generation + 1, since=now)


def test_an_answer_that_comes_late_undoes_nothing() -> None:
    _, _, views, [worker] = views_of(0.5)
    newer, older = replace(FRESH, version=2, generation=2), replace(FRESH, version=1, generation=1)
    views.see(worker, newer)
    views.see(worker, older)
    assert worker.view is newer


def test_a_worker_hears_at_its_next_round_or_of_the_announcement() -> None:
    for bus_delay, heard in ((None, 0.9), (0.01, 0.4 + 0.001 + 0.01)):
        timeline, _, views, [one, other] = views_of(0.1, 0.9, bus_delay=bus_delay)
        timeline.run(until=0.4)
        timeline.spawn(views.change(one, opened))
        timeline.run(until=heard)
        assert other.passing
        timeline.run(until=heard + 0.0015)
        assert not other.passing
        assert other.view.generation == 1


def test_rounds_of_all_workers_are_counted_once() -> None:
    _, _, views, workers = views_of(0.1, 0.35, 0.9)
    assert views.rounds(-1e-9, 10.0) == 30
    whole = views.rounds(-1e-9, 7.3)
    assert whole == sum(views.rounds(start, end) for start, end in ((-1e-9, 2.35), (2.35, 2.4), (2.4, 7.3)))
    assert [views.round_at(worker, 0.5) for worker in workers] == [0, 0, -1]


def test_successes_of_an_ended_generation_are_sent_only_if_a_round_had_taken_them_in() -> None:
    for seconds, stale in ((0.3, False), (1.2, True)):
        timeline, _, views, [worker] = views_of(0.5)
        timeline.run(until=seconds)
        worker.successes, worker.pending_since = 3, 0.1
        views.see(worker, replace(FRESH, version=1, generation=1))
        assert (worker.stale, worker.successes) == (stale, 0)


def test_who_loses_reads_and_tries_on_what_it_then_sees() -> None:
    timeline, store, views, [one, other] = views_of(0.5, 0.5)
    seen: list[int] = []

    def once(record: Record, now: float) -> Record:
        seen.append(record.generation)
        return record if record.generation else opened(record, now)

    timeline.spawn(views.change(one, once))
    timeline.spawn(views.change(other, once))
    timeline.run(until=0.1)
    assert seen == [0, 0, 1]
    assert store.record.generation == 1
