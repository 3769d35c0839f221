"""What an operator sets takes hold in every process, and is gone with `unset`."""

from __future__ import annotations

import logging

import pytest

from celery_breaker.core import machine
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, State, Tuning
from celery_breaker.engine.registry import Registry
from tests.engine.world import POLICY, World, fail


def tune(registry: Registry, tuning: Tuning) -> None:
    registry.change(registry.cell("smtp"), lambda record, now: machine.retuned(record, tuning), by="eve")


@pytest.fixture
def world() -> World:
    return World()


def test_another_process_goes_by_it_after_its_next_look(world: World) -> None:
    here, there = world.process("w1"), world.process("w2")
    there.refresh(["smtp"])
    tune(here, (("max_failures", 5),))
    there.refresh(["smtp"])
    fail(there, 4)
    assert there.cell("smtp").record.state is State.CLOSED
    fail(there, 1)
    assert there.cell("smtp").record.state is State.OPEN


def test_a_process_that_starts_later_goes_by_it(world: World) -> None:
    tune(world.process("w1"), (("max_failures", 1),))
    later = world.process("w2")
    later.refresh(["smtp"])
    fail(later, 1)
    assert later.cell("smtp").record.state is State.OPEN


def test_unset_goes_back_to_the_policy_of_the_code(world: World) -> None:
    registry = world.process()
    tune(registry, (("max_failures", 1), ("slow_call_duration", 2.0)))
    assert not registry.cell("smtp").plain
    tune(registry, ())
    assert registry.cell("smtp").policy == POLICY
    assert registry.cell("smtp").plain
    fail(registry, 2)
    assert registry.cell("smtp").record.state is State.CLOSED


def test_a_success_is_looked_at_as_soon_as_slow_calls_matter(world: World) -> None:
    registry = world.process()
    assert registry.cell("smtp").plain
    tune(registry, (("consecutive_failures", 2),))
    assert registry.cell("smtp").exact
    assert not registry.cell("smtp").plain


def test_declaring_the_code_s_policy_again_is_no_contradiction(world: World) -> None:
    registry = world.process()
    tune(registry, (("max_failures", 7),))
    registry.declare("smtp", POLICY)
    assert registry.cell("smtp").policy.max_failures == 7


def test_what_does_not_fit_the_code_s_policy_any_more_is_left_out_and_said(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    tune(world.process("w1"), (("recovery_timeout", 800.0),))
    with caplog.at_level(logging.WARNING, logger="celery_breaker"):
        other = world.process("w2", policy_of=lambda name: Policy(max_recovery_timeout=60.0))
        other.refresh(["smtp"])
        other.refresh(["smtp"])
    assert other.cell("smtp").policy == Policy(max_recovery_timeout=60.0)
    assert len([line for line in caplog.messages if "does not fit its policy" in line]) == 1


def test_a_store_that_was_emptied_gets_it_back(world: World) -> None:
    registry = world.process()
    tune(registry, (("max_failures", 7),))
    world.server.empty()
    registry.refresh(["smtp"])
    assert world.server.store.read(["smtp"]).records["smtp"].tuning == (("max_failures", 7),)


def test_a_process_cut_off_from_the_store_goes_on_with_it(world: World) -> None:
    registry = world.process()
    tune(registry, (("max_failures", 1),))
    world.server.down = True
    registry.refresh(["smtp"])
    assert not registry.link.connected
    fail(registry, 1)
    assert registry.cell("smtp").record.state is State.OPEN


def test_the_log_says_who_set_what(world: World, caplog: pytest.LogCaptureFixture) -> None:
    registry = world.process()
    with caplog.at_level(logging.WARNING, logger="celery_breaker"):
        tune(registry, (("max_failures", 10),))
        tune(registry, ())
    assert [line for line in caplog.messages if "goes by" in line] == [
        "breaker 'smtp' goes by max_failures=10, says eve",
        "breaker 'smtp' goes by the app's own policy again, says eve",
    ]


def test_an_override_leaves_it_alone(world: World) -> None:
    registry = world.process()
    tune(registry, (("max_failures", 10),))
    registry.change(
        registry.cell("smtp"), lambda record, now: machine.override(record, Mode.FORCED_OPEN, now=now), by="eve"
    )
    assert registry.cell("smtp").policy.max_failures == 10
