"""What a run of an outage says: pure functions of what was logged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from bench.outage_run import Call, Run
from celery_breaker import Policy

STEP = 0.5
"""Seconds of a bin of the call rate; also between two steps of the ramp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """Calls to the dead service.

    Attributes:
        all: from its first second to its last.
        at_trip: those made after the trip and before the first probe was due: on their way when the gate shut.
        probes: those made later.
        intervals: open intervals that ended while the service was down.
    """

    all: int
    at_trip: int
    probes: int
    intervals: int


def dead(run: Run) -> Dead:
    """Calls to the dead service, by when they were made."""
    refused = [call.at for call in run.calls if not call.up]
    probed_at = [step.at for step in run.transitions if step.after == "half_open"]
    tripped_at = _tripped_at(run)
    first_probe = min(probed_at, default=float("inf"))
    return Dead(
        all=len(refused),
        at_trip=sum(tripped_at < at < first_probe for at in refused),
        probes=sum(at >= first_probe for at in refused),
        intervals=sum(at < run.up_at for at in probed_at),
    )


def _tripped_at(run: Run) -> float:
    return next((step.at for step in run.transitions if step.after == "open"), float("inf"))


def closed_at(run: Run) -> float:
    """When the breaker closed for good; the end of the outage where there is none."""
    return max((step.at for step in run.transitions if step.after == "closed"), default=run.up_at)


def retrips(run: Run) -> int:
    """Trips beyond the one that the outage deserves."""
    return sum((step.before, step.after) == ("closed", "open") for step in run.transitions) - 1


# --- what became of the tasks ---------------------------------------------------------------------------------------


def lost(run: Run) -> int:
    """Tasks that never reached the live service."""
    return len(run.sent.keys() - {call.number for call in run.calls if call.up})


def run_twice(run: Run) -> int:
    """Tasks that reached the live service more than once."""
    return sum(times > 1 for times in Counter(call.number for call in run.calls if call.up).values())


def spent(run: Run) -> int:
    """Retries that tasks had spent when they were done, beyond those of their own failed calls."""
    failed: Counter[int] = Counter()
    beyond = 0
    for call in run.calls:
        if call.up:
            beyond += max(0, call.retries - failed[call.number])
        else:
            failed[call.number] += 1
    return beyond


# --- the way back ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How the backlog came back.

    Attributes:
        backlog: tasks that had been sent and not been served when the breaker closed.
        seconds: until the last of them was served.
        ideal: what the workers would need for them and nothing else, at the capacity measured before.
        peak: most calls per second, of any kind.
        of_ramp: most calls of the backlog made by any moment, as a share of what the ramp could have released by then.
        waited: seconds from the service's return to the close.
    """

    backlog: int
    seconds: float
    ideal: float
    peak: float
    of_ramp: float
    waited: float


def recovery(run: Run) -> Recovery:
    """How the backlog came back after the breaker closed; without a breaker, after the service did."""
    closed = closed_at(run)
    after = [call for call in run.calls if call.at >= closed and call.up]
    owed = {number for number, at in run.sent.items() if at < closed}
    owed -= {call.number for call in run.calls if call.up and call.at < closed}
    back = [call for call in after if call.number in owed]
    return Recovery(
        backlog=len(owed),
        seconds=max((call.at for call in back), default=closed) - closed,
        ideal=len(owed) / min(run.capacity, run.arm.slots / run.scenario.seconds["up"]),
        peak=max(Counter(_bin(call, closed) for call in after).values(), default=0) / STEP,
        of_ramp=_share_of_ramp(run, back, closed),
        waited=closed - run.up_at,
    )


def _bin(call: Call, start: float) -> int:
    return int((call.at - start) / STEP)


def _share_of_ramp(run: Run, back: list[Call], closed: float) -> float:
    start = Policy.from_options(run.scenario.options).ramp_start
    return max((made / _released(start, call.at - closed) for made, call in enumerate(back, 1)), default=0.0)


def _released(start: float, seconds: float) -> float:
    """The most that a ramp from ``start`` releases within these seconds of the close.

    Half a second's worth at once, and from then on what the rate allows for the time that has passed, the rate having
    doubled no more than once in each half second.
    """
    whole = int(seconds / STEP)
    return start * STEP * (2.0 ** (whole + 1) - 1) + start * 2.0 ** (whole + 1) * (seconds - whole * STEP)
