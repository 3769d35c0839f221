"""What a pool's processes have in hand is remembered, whatever Celery's own pool does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from billiard.pool import CLOSE, RUN

from celery_breaker.plugin.worker.running import keep_running


@dataclass
class Job:
    _accepted: bool
    done: bool = False
    _write_to: object = None
    writer: object = None

    def ready(self) -> bool:
        return self.done

    def _writer(self) -> object:
        return self.writer


@dataclass
class Pool:
    """Forgets all that it has, as Celery's did before 5.6.3; what is lost meanwhile ends."""

    jobs: dict[int, Job]
    lost: list[Job] = field(default_factory=list)
    _state: int = RUN
    _active_writers: set[object] = field(default_factory=set)

    @property
    def _pool(self) -> Any:
        return self

    @property
    def _cache(self) -> dict[int, Job]:
        return self.jobs

    def flush(self) -> None:
        self.jobs.clear()
        for job in self.lost:
            job.done = True


def test_what_runs_is_kept_and_what_ended_is_not() -> None:
    ended = Job(_accepted=True)
    pool = Pool({1: Job(_accepted=True), 2: Job(_accepted=False), 3: ended}, lost=[ended])
    keep_running(pool)
    pool.flush()
    assert list(pool.jobs) == [1]


@pytest.mark.parametrize(("state", "kept"), [(RUN, []), (CLOSE, [1])])
def test_what_a_process_was_given_whole_is_kept_as_the_worker_stops(state: int, kept: list[int]) -> None:
    """As the connection is lost, it is not: the broker gives it out again."""
    given, half = Job(_accepted=False, _write_to="process"), Job(_accepted=False, _write_to="process", writer="half")
    pool = Pool({1: given, 2: half, 3: Job(_accepted=False)}, _state=state, _active_writers={"half"})
    keep_running(pool)
    pool.flush()
    assert list(pool.jobs) == kept


def test_a_pool_that_is_never_emptied_is_left_alone() -> None:
    pool = object()
    keep_running(pool)
