"""The bootsteps' places among Celery's."""

from __future__ import annotations

import random
from typing import Any

from celery.worker.consumer import Consumer

from celery_breaker.plugin.worker.bootsteps import ConsumerStep, PauseStep


def order(shuffled: random.Random) -> list[str]:
    """An order in which a worker may take the steps, of which it keeps a set."""
    blueprint: Any = Consumer.Blueprint(steps=[PauseStep, ConsumerStep])
    steps = list(blueprint.claim_steps().items())
    shuffled.shuffle(steps)
    blueprint.steps = dict(steps)
    return [step.__name__ for step in blueprint._finalize_steps(blueprint.steps)]


def test_queues_are_paused_once_the_loop_is_known_and_before_it_consumes() -> None:
    shuffled = random.Random(1)
    for _ in range(100):
        steps = order(shuffled)
        assert steps.index("Connection") < steps.index("ConsumerStep") < steps.index("PauseStep")
        assert steps.index("Tasks") < steps.index("PauseStep") < steps.index("Evloop")
