"""A clock made of whole seconds, against a model of memcached's: cut off, looked at each second, a little late."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.core.ticks import Ticks

fractions = st.floats(0, 1, exclude_max=True)
seeds = st.integers(0, 2**32)


class Server:
    """Started at 1000 by the time of day, when the local clock was 0; its true time is the local clock and 1000."""

    def __init__(self, *, rest: float, phase: float, late: float = 0.0007) -> None:
        self.rest, self.phase, self.beat = rest, phase, 1.0 + late

    def second(self, at: float) -> int:
        looked = self.phase + math.floor((at - self.phase) / self.beat) * self.beat
        return 1000 + math.floor(self.rest + looked)


def process(
    server: Server, *, own: float, seed: int, answers: int, start: float = 0.0
) -> Iterator[tuple[float, Ticks]]:
    """What a process knows after each of its answers, and when."""
    dice, ticks, at = random.Random(seed), Ticks(), start
    for _ in range(answers):
        while not ticks.due(at):
            at += dice.uniform(0.1, 1.5)
        sent, at = at, at + dice.uniform(0.0001, 0.01)
        ticks = ticks.heard(server.second(dice.uniform(sent, at)), sent=sent, received=at, own=own)
        yield at, ticks


@given(fractions, fractions, fractions, seeds)
def test_a_machine_in_step_with_the_server_s_keeps_its_own_time(
    rest: float, phase: float, cut: float, seed: int
) -> None:
    """Whatever was cut off the server's start, and the moment at which it looks: its processes agree exactly."""
    server = Server(rest=rest, phase=phase)
    for _, ticks in process(server, own=1000 + cut, seed=seed, answers=300):
        assert ticks.offset == 1000 + cut


@given(fractions, fractions, st.sampled_from([-86_400.0, -60.0, 60.0, 86_400.0]), seeds)
def test_a_machine_whose_clock_is_wrong_is_no_more_than_seconds_off_from_the_first_answer_on(
    rest: float, phase: float, wrong: float, seed: int
) -> None:
    server = Server(rest=rest, phase=phase)
    for _, ticks in process(server, own=1000 + wrong, seed=seed, answers=200):
        assert abs(ticks.offset - 1000) < 4.6


@given(fractions, fractions, st.sampled_from([-3600.0, 3600.0]), st.lists(seeds, min_size=4, max_size=4, unique=True))
def test_processes_of_a_machine_whose_clock_is_wrong_differ_by_two_seconds_at_most(
    rest: float, phase: float, wrong: float, four: list[int]
) -> None:
    """By one, but where the server is just about to skip a second: it looks each time a little later."""
    server = Server(rest=rest, phase=phase)
    for answers in (1, 3, 10, 100):
        found = []
        for seed in four:
            *_, (_, ticks) = process(server, own=1000 + wrong, seed=seed, answers=answers, start=seed % 5)
            found.append(ticks.offset)
        assert max(found) - min(found) < 2.15


def test_each_answer_may_bring_such_processes_closer() -> None:
    spans = {}
    for answers in (1, 10):
        spans[answers] = []
        for number in range(40):
            server = Server(rest=number / 40, phase=number * 7 % 40 / 40)
            found = []
            for seed in range(4):
                *_, (_, ticks) = process(server, own=0.0, seed=seed, answers=answers, start=seed * 1.3)
                found.append(ticks.offset)
            spans[answers].append(max(found) - min(found))
    medians = {answers: sorted(each)[20] for answers, each in spans.items()}
    assert medians[10] < 0.25 < 0.4 < medians[1]


def test_what_was_known_grows_stale_but_slowly() -> None:
    """Two machines' clocks come apart; a bound of a day ago must not rule out the truth."""
    known = Ticks().heard(1000, sent=0.0, received=0.0, own=0.0)
    later = known.heard(1000 + 86_400, sent=86_400.0, received=86_400.0, own=0.0)
    fast = known.heard(1000 + 86_405, sent=86_400.0, received=86_400.0, own=0.0)
    assert later.answers == fast.answers == 2
    assert later.offset == known.offset == 999.0
    assert fast.offset == 1004.0


@pytest.mark.parametrize("jump", [-3600, 3600])
def test_a_server_that_was_started_again_with_another_time_is_followed(jump: int) -> None:
    ticks = Ticks()
    for at in (0.0, 10.0, 20.0):
        ticks = ticks.heard(1000 + int(at), sent=at, received=at, own=1000.0)
    assert ticks.offset == 1000.0
    ticks = ticks.heard(1030 + jump, sent=30.0, received=30.0, own=1000.0)
    assert abs(ticks.offset - 1000 - jump) < 4
    assert ticks.answers == 1, "it is got to know anew"


def test_a_machine_that_is_put_right_is_believed() -> None:
    ticks = Ticks().heard(1000, sent=0.0, received=0.0, own=50.0)
    assert ticks.offset == 999.0
    assert ticks.heard(1001, sent=1.0, received=1.0, own=1000.5).offset == 1000.5


def test_an_answer_that_took_long_says_less() -> None:
    ticks = Ticks().heard(1000, sent=0.0, received=2.0, own=0.0)
    assert (ticks.low, ticks.high) == (997.0, 1003.5)


def test_it_asks_often_at_first_and_then_now_and_then() -> None:
    ticks, at, asked = Ticks(), 0.0, []
    assert ticks.due(at)
    while at < 200:
        if ticks.due(at):
            asked.append(at)
            ticks = ticks.heard(int(at), sent=at, received=at, own=0.0)
        at += 0.25
    assert asked[:6] == [0, 1, 3, 6, 10, 15]
    assert {after - before for before, after in itertools.pairwise(asked[10:])} == {10}
