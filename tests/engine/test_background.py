"""The thread behind the reporter, with real threads but without waiting for time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest

from celery_breaker.engine.background import Background
from celery_breaker.engine.registry import Registry
from celery_breaker.stores.memory import MemoryStore

LONG = 3600.0


class Work:
    """Notes each turn; raises what it is told to."""

    def __init__(self) -> None:
        self.turns: SimpleQueue[str] = SimpleQueue()
        self.error: Exception | None = None

    def __call__(self) -> float:
        self.turns.put(threading.current_thread().name)
        if self.error is not None:
            raise self.error
        return LONG


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def background(work: Work) -> Iterator[Background]:
    background = Background(work, name="a-thread")
    yield background
    background.stop()


def test_nothing_runs_until_it_is_needed(background: Background, work: Work) -> None:
    assert not background.running
    assert work.turns.empty()


def test_waking_starts_the_thread_and_runs_the_work(background: Background, work: Work) -> None:
    background.wake()
    assert work.turns.get(timeout=10) == "a-thread"
    assert background.running


def test_each_wake_is_a_turn(background: Background, work: Work) -> None:
    background.start()
    work.turns.get(timeout=10)
    for _ in range(3):
        background.wake()
        work.turns.get(timeout=10)


def test_starting_twice_is_one_thread(background: Background, work: Work) -> None:
    for _ in range(5):
        background.start()
    assert sum(thread.name == "a-thread" for thread in threading.enumerate()) == 1


def test_an_error_is_logged_once_in_a_row_and_ends_nothing(
    background: Background, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    for error in (RuntimeError("a"), RuntimeError("a"), RuntimeError("b"), None, RuntimeError("b")):
        work.error = error
        assert background.turn() == (LONG if error is None else 1.0)
    assert [record.getMessage() for record in caplog.records] == ["a-thread failed; goes on"] * 3


def test_stopping_runs_the_work_a_last_time(background: Background, work: Work) -> None:
    background.start()
    work.turns.get(timeout=10)
    background.stop(timeout=10)
    assert work.turns.get(timeout=10) == "a-thread"
    assert not background.running


def test_stopping_while_another_thread_starts_it_waits_for_its_end(
    background: Background, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, begun, go_on = threading.Thread.start, threading.Event(), threading.Event()

    def start_slowly(thread: threading.Thread) -> None:
        if thread.name == "a-thread":
            begun.set()
            go_on.wait(10)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_slowly)
    with ThreadPoolExecutor() as pool:
        starting = pool.submit(background.start)
        assert begun.wait(10)
        stopping = pool.submit(background.stop, 10)
        assert background._event.wait(10)
        go_on.set()
        stopping.result(10)
        starting.result(10)
    assert work.turns.get(timeout=10) == "a-thread"
    assert not background.running


def test_a_stopped_thread_is_not_started_again(background: Background) -> None:
    background.stop()
    background.start()
    assert not background.running


def test_stopping_from_within_does_not_wait_for_itself() -> None:
    done = threading.Event()

    def work() -> float:
        background.stop()
        done.set()
        return LONG

    background = Background(work, name="stops-itself")
    background.wake()
    assert done.wait(10)


def test_a_registry_reports_what_is_left_when_it_is_closed() -> None:
    registry = Registry(MemoryStore())
    cell = registry.cell("smtp")
    registry.reporter.start()
    for _ in range(2):
        registry.succeeded(cell.ticket)
        registry.reporter.turn()  # the first is sent at once, the second waits for more
    registry.succeeded(cell.ticket)
    registry.close()
    assert registry.totals(cell).calls == 3


def test_successes_of_many_threads_are_all_counted() -> None:
    registry = Registry(MemoryStore())
    cell = registry.cell("smtp")
    registry.reporter.start()

    def call() -> None:
        for _ in range(2000):
            registry.succeeded(cell.ticket)
            registry.reporter.wake()

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    registry.close()
    assert registry.totals(cell).calls == 16_000
