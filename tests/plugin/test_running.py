"""What a pool runs is remembered when the worker loses its connection, whatever Celery's own pool does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from celery_breaker.plugin.worker.running import keep_running


@dataclass
class Job:
    _accepted: bool
    done: bool = False

    def ready(self) -> bool:
        return self.done


@dataclass
class Pool:
    """Forgets all that it has, as Celery's did before 5.6.3; what is lost meanwhile ends."""

    jobs: dict[int, Job]
    lost: list[Job] = field(default_factory=list)

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


@pytest.mark.parametrize(("version", "kept"), [((5, 5, 0), [1]), ((5, 6, 2), [1]), ((5, 6, 3), []), ((5, 7, 0), [])])
def test_before_celery_keeps_it_itself_what_runs_is_kept(version: tuple[int, ...], kept: list[int]) -> None:
    ended = Job(_accepted=True)
    pool = Pool({1: Job(_accepted=True), 2: Job(_accepted=False), 3: ended}, lost=[ended])
    keep_running(pool, version=version)
    pool.flush()
    assert list(pool.jobs) == kept


def test_a_pool_that_is_never_emptied_is_left_alone() -> None:
    pool = object()
    keep_running(pool, version=(5, 5, 0))
