"""The retry budget as processes ask for it: fleet-wide over the store, each for itself without."""

from __future__ import annotations

from dataclasses import replace

import pytest

from celery_breaker.core.budget import LEAST
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Cell
from tests.engine.world import POLICY, World

BUDGET = replace(POLICY, retry_budget=0.5, failure_window=60.0)


def process(world: World, **options: object) -> tuple[Registry, Cell]:
    registry = world.process()
    registry.declare("smtp", replace(BUDGET, **options))  # type: ignore[arg-type]
    cell = registry.cell("smtp")
    registry.work()
    return registry, cell


def grants(registry: Registry, cell: Cell, asks: int) -> int:
    answers: list[float | None] = []
    for _ in range(asks):
        registry.ask_retry(cell, answers.append)
    registry.work()
    assert len(answers) == asks
    return answers.count(None)


def test_a_quiet_service_is_retried_a_few_times(world: World) -> None:
    assert grants(*process(world), 10) == LEAST


def test_all_processes_share_the_budget_that_all_calls_make(world: World) -> None:
    registry, cell = process(world)
    for _ in range(20):
        registry.succeeded(cell.ticket)
    world.clock.advance(10)
    registry.work()
    other = process(world)
    assert grants(*other, 6) == 6
    assert grants(registry, cell, 10) == 4


def test_a_place_falls_free_after_the_window(world: World) -> None:
    registry, cell = process(world)
    assert grants(registry, cell, 5) == LEAST
    assert registry.retry_wait(cell) == pytest.approx(1.0), "it does not ask each time"
    world.clock.advance(30)
    assert registry.retry_wait(cell) == pytest.approx(30.0)
    world.clock.advance(30)
    assert grants(registry, cell, 5) == LEAST


def test_once_spent_the_budget_is_not_asked_for_a_moment(world: World) -> None:
    registry, cell = process(world)
    grants(registry, cell, LEAST + 1)
    before = len(world.server.calls)
    assert grants(registry, cell, 50) == 0
    assert "lease" not in world.server.calls[before:]
    assert 0 < registry.budget_spent(cell) <= 1.0


def test_without_the_store_each_process_has_a_budget_of_its_own(world: World) -> None:
    one, other = process(world), process(world)
    world.server.down = True
    assert (grants(*one, 10), grants(*other, 10)) == (LEAST, LEAST)


def test_a_breaker_of_each_worker_has_a_budget_of_each_worker(world: World) -> None:
    one, other = process(world, scope="worker"), process(world, scope="worker")
    assert (grants(*one, 10), grants(*other, 10)) == (LEAST, LEAST)
