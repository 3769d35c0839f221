"""Permits and generations: every order in which the steps of three workers can happen, to the last scene there is.

`interleavings` says what a scene is and what can happen next. Here all scenes that can be reached are looked at,
breadth first, and then, backwards, whether and how soon the breaker can close again from each of them.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from celery_breaker.core import machine
from celery_breaker.core.machine import Admission
from celery_breaker.core.record import State
from tests.chaos.chance import LONG
from tests.core import interleavings
from tests.core.interleavings import PRESENT, TICK, Fleet, Kind, Scene, Violation

FLEETS = [
    Fleet(lease=1),
    Fleet(),
    Fleet(failures=2),
    Fleet(interval=2),
    Fleet(permits=2),
    Fleet(threshold=2),
    Fleet(permits=2, threshold=2),
]
CASES = [
    *(pytest.param(fleet, 2, id=f"2 workers, {number}") for number, fleet in enumerate(FLEETS)),
    *(
        pytest.param(fleet, 3, id=f"3 workers, {number}", marks=pytest.mark.timeout(900))
        for number, fleet in enumerate(FLEETS if LONG else FLEETS[:1])
    ),
]


@dataclass(frozen=True)
class Explored:
    """Every scene that can be reached, and how; scenes are numbered as they were found."""

    scenes: list[Scene]
    origins: array[int]
    kinds: list[Kind]
    before: list[list[int]]
    """Of each scene, those from which it is reached at once, by nothing worse than a service that answers."""
    earlier: list[list[int]]
    """Of each scene, those from which it is reached as time passes."""
    steps: int

    def way_to(self, number: int) -> str:
        names = []
        while number:
            names.append(self.kinds[number].name)
            number = self.origins[number]
        return ", ".join(reversed(names)) or "at the beginning"


def explored(fleet: Fleet, workers: int) -> Explored:
    """Breadth first, until there is nothing new. Checks each scene on the way.

    Raises:
        Violation: a promise is broken; says by which steps.
    """
    first = fleet.begin(workers)
    numbers = {first: 0}
    found = Explored([first], array("l", [0]), [TICK], [[]], [[]], 0)
    steps = 0
    for number, scene in enumerate(found.scenes):  # grows as it goes
        try:
            check(scene, fleet)
            for kind, after in fleet.moves(scene):
                steps += 1
                if (other := numbers.get(after)) is None:
                    other = numbers[after] = len(found.scenes)
                    found.scenes.append(after)
                    found.origins.append(number)
                    found.kinds.append(kind)
                    found.before.append([])
                    found.earlier.append([])
                if kind is TICK:
                    found.earlier[other].append(number)
                elif not kind.bad:
                    found.before[other].append(number)
        except Violation as broken:
            raise Violation(f"{broken}\nafter: {found.way_to(number)}") from None
    return replace(found, steps=steps)


def check(scene: Scene, fleet: Fleet) -> None:
    """What holds in every scene."""
    under_way = [worker for worker in scene.workers if worker.phase == "call"]
    of_the_present = [worker for worker in under_way if worker.generation == PRESENT]
    if scene.store.state is State.OPEN and of_the_present:
        raise Violation(f"an open breaker let a call pass: {scene}")
    if scene.store.state is State.HALF_OPEN and any(worker.lease is None for worker in of_the_present):
        raise Violation(f"a half-open breaker let a call pass without a permit: {scene}")
    for generation in {worker.generation for worker in under_way if worker.lease}:
        if sum(bool(worker.lease) for worker in under_way if worker.generation == generation) > fleet.permits:
            raise Violation(f"more probes than permits: {scene}")


def ticks_to_close(found: Explored) -> list[int | None]:
    """Of each scene, after how many ticks the breaker can be closed, if the service answers and nobody vanishes."""
    ticks: list[int | None] = [0 if scene.store.state is State.CLOSED else None for scene in found.scenes]
    waiting = deque(number for number, known in enumerate(ticks) if known == 0)
    while waiting:
        number = waiting.popleft()
        so_far = ticks[number]
        assert so_far is not None
        for other in found.before[number]:
            if (known := ticks[other]) is None or known > so_far:
                ticks[other] = so_far
                waiting.appendleft(other)
        for other in found.earlier[number]:
            if (known := ticks[other]) is None or known > so_far + 1:
                ticks[other] = so_far + 1
                waiting.append(other)
    return ticks


@pytest.mark.parametrize(("fleet", "workers"), CASES)
def test_in_no_order_is_there_a_probe_too_many_or_a_stale_answer_that_counts_or_no_way_back(
    fleet: Fleet, workers: int
) -> None:
    found = explored(fleet, workers)
    ticks = ticks_to_close(found)
    stuck = [number for number, known in enumerate(ticks) if known is None]
    assert not stuck, f"no way to close from {found.scenes[stuck[0]]}\nafter: {found.way_to(stuck[0])}"
    longest = max(known for known in ticks if known is not None)
    # In the worst case an interval has just begun, or all permits were just lost; not one after the other.
    assert longest == max(fleet.interval, fleet.lease), found.way_to(ticks.index(longest))
    print(f"{fleet}, {workers} workers: {len(found.scenes)} scenes, {found.steps} steps")  # noqa: T201


# --- would it be seen? ------------------------------------------------------------------------------------------------


@pytest.fixture
def no_memory() -> Iterator[None]:
    """The model remembers the core's answers: before and after a broken one, forget them."""
    forget = [each.cache_clear for each in vars(interleavings).values() if hasattr(each, "cache_clear")]
    for each in forget:
        each()
    yield
    for each in forget:
        each()


def answers_of_any_generation(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda record, policy, **given: original(record, policy, **{**given, "generation": record.generation})


def same_generation(original: Callable[..., Any]) -> Callable[..., Any]:
    def broken(record: Any, *args: Any, **given: Any) -> Any:
        after = original(record, *args, **given)
        return after if after is record else replace(after, generation=record.generation)

    return broken


def permits_for_all(original: Callable[..., Any]) -> Callable[..., Any]:
    def broken(record: Any, *args: Any) -> Any:
        return Admission.ADMIT if original(record, *args) is Admission.PERMIT else original(record, *args)

    return broken


def nothing(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda record, *args, **given: record


def straight_to_closed(original: Callable[..., Any]) -> Callable[..., Any]:
    def broken(record: Any, **given: Any) -> Any:
        after = original(record, **given)
        return after if after is record else replace(after, state=State.CLOSED)

    return broken


@pytest.mark.usefixtures("no_memory")
@pytest.mark.parametrize(
    ("name", "breaks", "says"),
    [
        ("probe_succeeded", answers_of_any_generation, "an answer of generation"),
        ("probe_failed", answers_of_any_generation, "an answer of generation"),
        ("probe_succeeded", same_generation, "a generation for each transition"),
        ("half_opened", same_generation, "a generation for each transition"),
        ("tripped", same_generation, "a generation for each transition"),
        ("half_opened", straight_to_closed, "no way leads from"),
        ("admission", permits_for_all, "let a call pass"),
        ("probe_failed", nothing, "did not re-arm"),
        ("probe_succeeded", nothing, "no way to close"),
        ("half_opened", nothing, "no way to close"),
    ],
)
def test_a_core_that_breaks_a_promise_is_found_out(
    name: str, breaks: Callable[[Any], Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, name, breaks(getattr(machine, name)))
    test = test_in_no_order_is_there_a_probe_too_many_or_a_stale_answer_that_counts_or_no_way_back
    with pytest.raises(AssertionError, match=says):
        test(Fleet(), 2)
