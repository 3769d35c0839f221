"""A breaker as a row of the overview: what a template shows of it. Pure.

Times are moments of the store's clock, in whole seconds, so that a row differs only when there is something new to
show; how long ago that was is told when it is drawn, and counted on in the browser.
"""

from __future__ import annotations

from dataclasses import dataclass

from celery_breaker.core.record import Mode, State
from celery_breaker.status import Status
from celery_breaker.status.words import STATES, plain, state_words
from celery_breaker.web.charts import Spark

__all__ = ["LOOKS", "Moment", "Row", "look_of", "row_of"]

LOOKS = {
    "open": "open",
    "half-open": "half-open",
    "closed": "closed",
    "forced-open": "forced open",
    "disabled": "disabled",
    "observing": "observing",
}
"""How a breaker can look, as its colour and shape are named, and in words."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Words, and a moment that they speak of.

    Attributes:
        at: seconds of the store's clock; ``None`` if the words stand alone.
        ahead: counted down to; else counted up from.
    """

    words: str
    at: float | None = None
    ahead: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is shown of one breaker.

    Attributes:
        look: one of `LOOKS`.
        below: the state that an override hides.
        since: when the state was entered.
        following: what happens next.
        parked: how many; empty if nobody could say.
        oldest: since when the first of the parked tasks waits.
        until: when the override ends by itself.
    """

    name: str
    look: str
    state: str
    below: str
    since: float | None
    following: Moment
    reason: str
    calls: int
    failures: int
    slow: int
    spark: Spark
    parked: str
    oldest: float | None
    forced_by: str
    forced_why: str
    until: float | None
    overridden: bool
    refuses: bool


def look_of(status: Status) -> str:
    """One of `LOOKS`."""
    return (status.state if status.mode == Mode.AUTO else status.mode).replace("_", "-")


def row_of(status: Status, *, at: float, spark: Spark, grace: float = 15.0) -> Row:
    """A status seen at this moment of the store's clock, as a row.

    Args:
        spark: how it did lately.
        grace: seconds that a probe may be late.
    """
    overridden = status.mode != Mode.AUTO
    return Row(
        name=plain(status.name),
        look=look_of(status),
        state=state_words(status) if status.mode != Mode.OBSERVING else "observing",
        below=STATES[State(status.state)] if overridden else "",
        since=_ago(status.since, at),
        following=_following(status, at=at, grace=grace),
        reason=plain(status.reason) if status.state != State.CLOSED else "",
        calls=status.calls,
        failures=status.failures,
        slow=status.slow,
        spark=spark,
        parked="" if status.parked is None else f"{status.parked:,}",
        oldest=_ago(status.oldest_parked, at),
        forced_by=plain(status.override_by) if overridden else "",
        forced_why=plain(status.override_reason) if overridden else "",
        until=_ahead(status.override_expires_in, at) if overridden else None,
        overridden=overridden,
        refuses=not status.admits,
    )


def _following(status: Status, *, at: float, grace: float) -> Moment:
    """What happens next, and when."""
    if status.mode == Mode.FORCED_OPEN:
        return Moment("refuses until lifted") if status.retry_after is None else _then("lifted in", status, at)
    if status.mode != Mode.AUTO:
        return Moment("admits everything")
    if status.state == State.OPEN:
        if status.overdue > grace:
            return Moment("probe overdue by", _ago(status.overdue, at))
        return _then("probe in", status, at)
    if status.state == State.HALF_OPEN:
        return Moment("probing now")
    if status.time_to_drain is not None:
        return Moment("backlog gone in", _ahead(status.time_to_drain, at), ahead=True)
    return Moment("parked tasks go back") if status.parked else Moment("")


def _then(words: str, status: Status, at: float) -> Moment:
    return Moment(words, _ahead(status.retry_after, at), ahead=True)


def _ago(seconds: float | None, at: float) -> float | None:
    return None if seconds is None else float(round(at - seconds))


def _ahead(seconds: float | None, at: float) -> float | None:
    return None if seconds is None else float(round(at + seconds))
