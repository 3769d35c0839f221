"""The state machine: every function takes a record and the present, and returns the record as it should become.

``now`` is the store's clock in seconds and ``u`` is uniform in [0, 1). A function returns the very record it was
given when nothing is to change, so that ``after is before`` means "no write".
"""

from __future__ import annotations

import enum
from dataclasses import replace

from celery_breaker.core.backoff import interval
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import LAST_TIME, Mode, Override, Record, State, Tuning
from celery_breaker.core.windows import Totals

__all__ = [
    "Admission",
    "admission",
    "close",
    "drained",
    "due",
    "expect_backlog",
    "half_opened",
    "health_checked",
    "lifted",
    "mode_at",
    "on_ramp",
    "overdue",
    "override",
    "probe_failed",
    "probe_succeeded",
    "ramped",
    "relax",
    "reset",
    "retry_after",
    "retuned",
    "state_at",
    "tripped",
]


class Admission(enum.Enum):
    """What a breaker says to a call."""

    ADMIT = "admit"
    PERMIT = "permit"
    """Half-open, or due to be: only with a permit."""
    PLACE = "place"
    """Closed a while ago, and its policy has fresh calls on the ramp too: only with a place on it."""
    REFUSE = "refuse"


def mode_at(record: Record, now: float) -> Mode:
    """The mode in force: an override that has expired no longer counts, lifted or not."""
    override = record.override
    if override is None or (override.expires is not None and now >= override.expires):
        return Mode.AUTO
    return override.mode


def state_at(record: Record, now: float) -> State:
    """The state in force: what is forced open is open."""
    return State.OPEN if mode_at(record, now) is Mode.FORCED_OPEN else record.state


def admission(record: Record, policy: Policy, now: float) -> Admission:
    """Whether a call may go ahead.

    An open breaker whose interval has passed asks for a permit too: whoever comes first half-opens it. A breaker with
    a health check spends no call on probing.
    """
    mode = mode_at(record, now)
    if mode is Mode.FORCED_OPEN:
        return Admission.REFUSE
    if mode is not Mode.AUTO or record.state is State.CLOSED:
        return Admission.PLACE if mode is Mode.AUTO and on_ramp(record, policy) else Admission.ADMIT
    if policy.health_check is None and (record.state is State.HALF_OPEN or due(record, now)):
        return Admission.PERMIT
    return Admission.REFUSE


def on_ramp(record: Record, policy: Policy) -> bool:
    """Whether this breaker, should its state decide, has fresh calls on the ramp."""
    return record.recovering is not None and policy.admit_ramp and record.state is State.CLOSED


def retry_after(record: Record, now: float) -> float | None:
    """Seconds until a call may be admitted: 0 when one may now, ``None`` when forced open without an end."""
    mode = mode_at(record, now)
    if mode is Mode.FORCED_OPEN and record.override is not None:
        return None if record.override.expires is None else max(0.0, record.override.expires - now)
    if mode is Mode.AUTO and record.state is State.OPEN:
        return max(0.0, record.until - now)
    return 0.0


def _open(
    record: Record, policy: Policy, now: float, u: float, *, trips: int, reason: str, asked: float | None
) -> Record:
    seconds = interval(
        policy.backoff,
        attempt=trips,
        first=policy.recovery_timeout,
        cap=policy.max_recovery_timeout,
        jitter=policy.jitter,
        u=u,
        retry_after=asked,
    )
    return replace(
        record,
        state=State.OPEN,
        generation=record.generation + 1,
        since=now,
        until=now + seconds,
        trips=trips,
        successes=0,
        last_fault=now,
        reason=reason,
        draining=True,
        ramp=0.0,
    )


def _why(totals: Totals, policy: Policy) -> str:
    """The first rule that the window breaks, as a sentence; empty if none."""
    enough_calls = totals.calls >= policy.max_failures
    if policy.slow_call_rate is not None and enough_calls and totals.slow >= policy.slow_call_rate * totals.calls:
        return f"{totals.slow} of {totals.calls} calls were slow"
    if len(totals.workers) < policy.min_workers and policy.min_workers > 1:
        return ""
    if policy.consecutive_failures is not None and totals.streak >= policy.consecutive_failures:
        return f"{totals.streak} failures in a row"
    if totals.failures >= policy.max_failures and totals.failures >= policy.failure_rate * totals.calls:
        return f"{totals.failures} of {totals.calls} calls failed"
    return ""


def tripped(
    record: Record, totals: Totals, policy: Policy, *, now: float, u: float, asked: float | None = None
) -> Record:
    """A closed breaker opens if the window of this very generation breaks a rule.

    A breaker that has stayed closed for a while (`_settled`) starts its back-off afresh. A disabled breaker counts but
    never moves. ``asked`` is the service's ``Retry-After`` in seconds.
    """
    if record.state is not State.CLOSED or mode_at(record, now) in (Mode.DISABLED, Mode.FORCED_OPEN):
        return record
    why = _why(totals, policy)
    if not why:
        return record
    trips = 1 if _settled(record, policy, now) else record.trips + 1
    return _open(record, policy, now, u, trips=trips, reason=why, asked=asked)


def _settled(record: Record, policy: Policy, now: float) -> bool:
    """Closed for a first open interval and a window: an earlier outage no longer lengthens the back-off."""
    window = policy.window
    return now - record.since >= max(policy.recovery_timeout, 0.0 if window.by_calls else window.span)


def due(record: Record, now: float) -> bool:
    """Whether an open breaker's interval has passed, so that it should be probed."""
    return record.state is State.OPEN and now >= record.until and mode_at(record, now) in (Mode.AUTO, Mode.OBSERVING)


def overdue(record: Record, now: float) -> float:
    """Seconds for which an open breaker has been due to be probed; 0 if it is not."""
    return now - record.until if due(record, now) else 0.0


def half_opened(record: Record, *, now: float) -> Record:
    """An open breaker whose time has come admits probes."""
    if not due(record, now):
        return record
    return replace(record, state=State.HALF_OPEN, generation=record.generation + 1, since=now, successes=0)


def _probing(record: Record, generation: int, now: float) -> bool:
    """Whether a result of this generation is a probe's; a disabled breaker never moves."""
    return (
        record.state is State.HALF_OPEN
        and generation == record.generation
        and mode_at(record, now) is not Mode.DISABLED
    )


def probe_failed(
    record: Record, policy: Policy, *, generation: int, now: float, u: float, reason: str, asked: float | None = None
) -> Record:
    """A failed probe of this generation opens the breaker again, for longer."""
    if not _probing(record, generation, now):
        return record
    return _open(record, policy, now, u, trips=record.trips + 1, reason=reason, asked=asked)


def probe_succeeded(record: Record, policy: Policy, *, generation: int, now: float, count: int = 1) -> Record:
    """Successful probes of this generation close the breaker once there are enough."""
    if not _probing(record, generation, now):
        return record
    successes = record.successes + count
    if successes < policy.success_threshold:
        return replace(record, successes=successes)
    return _closed(record, now=now, reason=f"{successes} successful probe{'s' if successes > 1 else ''}")


def health_checked(record: Record, policy: Policy, *, healthy: bool, now: float, u: float, reason: str) -> Record:
    """The outcome of a health check, which stands in for a probe while the breaker is half-open."""
    if healthy:
        return probe_succeeded(record, policy, generation=record.generation, now=now)
    return probe_failed(record, policy, generation=record.generation, now=now, u=u, reason=reason)


def _closed(record: Record, *, now: float, reason: str) -> Record:
    return replace(
        record,
        state=State.CLOSED,
        generation=record.generation + 1,
        since=now,
        until=0.0,
        successes=0,
        reason=reason,
        draining=True,
        recovering=now,
        ramp=0.0,
    )


def override(
    record: Record, mode: Mode, *, now: float, reason: str = "", by: str = "", expires_in: float | None = None
) -> Record:
    """An operator's word, in force for ``expires_in`` seconds or until lifted with `Mode.AUTO`; the state goes on."""
    if mode is Mode.AUTO:
        if record.override is None:
            return record
        return _let_go(record, now)
    expires = None if expires_in is None else min(now + expires_in, LAST_TIME - 1)  # later than that, no store reads it
    return replace(
        record, override=Override(mode=mode, since=now, expires=expires, reason=reason, by=by), draining=True
    )


def lifted(record: Record, mine: Override, *, before: Override | None, now: float) -> Record:
    """Take back one very override, unless somebody has said otherwise since; what it had replaced counts again.

    Args:
        before: what was in force when it was given; of no weight if it has expired.
    """
    if record.override != mine:
        return record
    if before is None or (before.expires is not None and now >= before.expires):
        return override(record, Mode.AUTO, now=now)
    return replace(record, override=before, draining=True)


def close(record: Record, *, now: float, reason: str = "closed by hand") -> Record:
    """Close by hand: lifts a forced opening; keeps the back-off's memory, so that an early relapse opens for longer."""
    lifted = _let_go(record, now) if record.mode is Mode.FORCED_OPEN else record
    return lifted if lifted.state is State.CLOSED else _closed(lifted, now=now, reason=reason)


def reset(record: Record, *, now: float, reason: str = "reset by hand") -> Record:
    """Back to a fresh, closed breaker: no override, no back-off, an empty window (a new generation starts one)."""
    return replace(_closed(record, now=now, reason=reason), override=None, trips=0, last_fault=None)


def retuned(record: Record, tuning: Tuning) -> Record:
    """Options that an operator has set; a failure window of another span begins empty, in a generation of its own."""
    if tuning == record.tuning:
        return record
    changed = replace(record, tuning=tuning)
    if dict(tuning).get("failure_window") == dict(record.tuning).get("failure_window"):
        return changed
    return replace(changed, generation=record.generation + 1)


def relax(record: Record, *, now: float) -> Record:
    """Lift an override that has expired."""
    if record.override is not None and mode_at(record, now) is Mode.AUTO:
        return replace(_let_go(record, now), draining=True)
    return record


def _let_go(record: Record, now: float) -> Record:
    """Without the override; what was forced open has a backlog."""
    if record.mode is not Mode.FORCED_OPEN:
        return replace(record, override=None)
    return replace(record, override=None, draining=True, recovering=now)


def expect_backlog(record: Record) -> Record:
    """Note that tasks are parked, so that the agent looks for them although the breaker is closed."""
    return record if record.draining else replace(record, draining=True, ramp=0.0)


def drained(record: Record) -> Record:
    """Note that nothing is parked any more."""
    return replace(record, draining=False, recovering=None, ramp=0.0) if record.draining else record


def ramped(record: Record, rate: float) -> Record:
    """Remember the release rate, in tasks per second, for whoever tends next."""
    return record if rate == record.ramp else replace(record, ramp=rate)
