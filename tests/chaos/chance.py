"""How long a chaos test goes on, and where its randomness comes from: a seed that is printed and can be given again."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass

__all__ = ["LONG", "SEED", "Chance"]

LONG = os.environ.get("CELERY_BREAKER_CHAOS") == "long"
"""The long form, `make chaos`; else the short one, part of `make test`."""

SEED = "CELERY_BREAKER_CHAOS_SEED"
"""Environment variable that repeats a run, as far as processes can be repeated."""


@dataclass(frozen=True, slots=True)
class Chance:
    """The chance of one test."""

    seed: int
    random: random.Random

    @classmethod
    def take(cls) -> Chance:
        """The seed that was asked for, or a new one."""
        seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(2**32))
        return cls(seed, random.Random(seed))

    def rounds(self, *, short: int, long: int) -> int:
        """How often, in the form that is run."""
        return long if LONG else short
