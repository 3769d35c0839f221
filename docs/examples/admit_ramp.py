"""How many fresh calls a fleet lets through after a close, half second by half second."""

from __future__ import annotations

from celery_breaker import Policy
from celery_breaker.core.ramp import fresh
from celery_breaker.core.record import Record

SEARCH = Policy(admit_ramp=True, ramp_start=20)


def admitted(seconds: float) -> list[int]:
    """Fresh calls in each half second, while nothing fails and nothing is parked."""
    closed = Record(name="search", recovering=0.0)
    shares = [fresh(closed, SEARCH, now=step / 2) for step in range(int(seconds * 2))]
    return [share.limit * share.size for share in shares]


if __name__ == "__main__":
    print(admitted(3.0))
